package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
)

// age has time pass for all that is stored: rows and partitions are d older.
const age = `DO $$
DECLARE
	p record;
	back interval := '%s';
BEGIN
	FOR p IN SELECT * FROM rabbitrpc.partitions LOOP
		EXECUTE format('ALTER TABLE rabbitrpc.records DETACH PARTITION rabbitrpc.%%I', p.name);
		EXECUTE format('ALTER TABLE rabbitrpc.%%I RENAME TO %%I', p.name, 'aged_' || p.name);
		EXECUTE format('UPDATE rabbitrpc.%%I SET created = created - $1, lease = lease - $1', 'aged_' || p.name) USING back;
	END LOOP;
	UPDATE rabbitrpc.partitions SET name = 'aged_' || name, lower = lower - back, upper = upper - back;
	FOR p IN SELECT * FROM rabbitrpc.partitions LOOP
		EXECUTE format('ALTER TABLE rabbitrpc.records ATTACH PARTITION rabbitrpc.%%I FOR VALUES FROM (%%L) TO (%%L)', p.name, p.lower, p.upper);
	END LOOP;
END $$`

const partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'rabbitrpc.records'::regclass"

func (d *database) age(by string) {
	d.t.Helper()
	d.exec(fmt.Sprintf(age, by))
}

// What is past the retention is forgotten, and the rest is not. There are always partitions for what is to come.
func TestRetention(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			d := newDatabase(t)
			s := open(t, d.url, m.options...)
			first := one[int](d, partitions)
			for _, id := range []string{"1", "2"} {
				begun := begin(t, s, id, idempotency.New)
				if err := s.Complete(t.Context(), begun.Token, reply(id)); err != nil {
					t.Fatal(err)
				}
				d.age("13h")
				open(t, d.url) // which maintains them
			}
			begin(t, s, "2", idempotency.Done)
			begin(t, s, "1", idempotency.Done) // its partition is not over for long enough
			d.age("7h")
			open(t, d.url)
			begin(t, s, "2", idempotency.Done)
			begun := begin(t, s, "1", idempotency.New)
			if err := s.Abandon(t.Context(), begun.Token); err != nil {
				t.Fatal(err)
			}
			if got := one[int](d, partitions); got > first+5 {
				t.Errorf("%d partitions, and %d at first: are old ones kept?", got, first)
			}
			if ahead := one[float64](d, "SELECT extract(epoch FROM max(upper) - now()) / 3600 FROM rabbitrpc.partitions"); ahead < 12 {
				t.Errorf("partitions for %v hours to come, want 12", ahead)
			}
		})
	}
}

// After a long time without servers, or with the database restored from a backup, the first call has them made.
func TestMissingPartition(t *testing.T) {
	d := newDatabase(t)
	s := open(t, d.url)
	d.age("100h")
	if _, err := s.Begin(t.Context(), keyOf("1"), fingerprint); err == nil {
		t.Error("claimed without a partition")
	}
	until(t, "there is one", func() bool {
		begun, err := s.Begin(t.Context(), keyOf("1"), fingerprint)
		return err == nil && begun.State == idempotency.New
	})
}

// A call that runs for longer than the retention is renewed into a younger partition.
func TestLongCallIsKept(t *testing.T) {
	d := newDatabase(t)
	s := open(t, d.url, postgres.WithLease(time.Second))
	begun := begin(t, s, "1", idempotency.New)
	d.age("20h")
	open(t, d.url) // makes partitions
	until(t, "it is moved", func() bool {
		return one[bool](d, "SELECT created > now() - interval '1h' FROM rabbitrpc.records")
	})
	d.age("20h")
	open(t, d.url)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Error(err)
	}
	begin(t, s, "1", idempotency.Done)
}

// A transaction that goes on for long keeps no partition but its own, and nobody waits for it.
func TestLongTransactionBlocksNoPartition(t *testing.T) {
	d := newDatabase(t)
	s := openTx(t, d.url, postgres.WithConnections(1))
	run := func(id string) {
		t.Helper()
		begun := begin(t, s, id, idempotency.New)
		if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
			t.Fatal(err)
		}
	}
	run("old")
	d.age("31h")
	d.exec("SELECT rabbitrpc.prepare('24h')")
	run("first") // which has PostgreSQL look up what the new partition is for, on this connection
	long := begin(t, s, "long", idempotency.New)
	for one[bool](d, "SELECT rabbitrpc.expire()") {
	}
	if err := s.Complete(t.Context(), long.Token, reply("x")); err != nil {
		t.Error(err)
	}
	run("old")

	// One that reads the old partition does keep it, and claims go on.
	d.age("31h")
	d.exec("SELECT rabbitrpc.prepare('24h')")
	reader := connect(t, d.url)
	if _, err := reader.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), "SELECT FROM rabbitrpc.records"); err != nil {
		t.Fatal(err)
	}
	_, err := d.conn.Exec(t.Context(), "SELECT rabbitrpc.expire()")
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "55P03" {
		t.Errorf("expire = %v, want it to give up", err)
	}
	begin(t, s, "new", idempotency.New)
}

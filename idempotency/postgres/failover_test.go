package postgres_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// address is one whose target can be changed for new connections, like a virtual address, or a name.
type movable struct {
	target atomic.Value
	url    string
}

func newMovable(t *testing.T, to string) *movable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u, _ := url.Parse(to)
	m := &movable{}
	m.target.Store(u.Host)
	u.Host = l.Addr().String()
	m.url = u.String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", m.target.Load().(string))
				if err != nil {
					return
				}
				defer s.Close()
				go func() { io.Copy(s, c); s.Close() }()
				io.Copy(c, s)
			}()
		}
	}()
	return m
}

// The primary comes back as a standby, and a while later the address leads to the new primary.
func TestFailover(t *testing.T) {
	old, next := testpostgres.Own(t), testpostgres.Own(t)
	d := newDatabaseAt(t, old.URL())
	e := newDatabaseAt(t, next.URL())
	u, _ := url.Parse(old.URL())
	password, _ := u.User.Password()
	e.exec("ALTER ROLE postgres PASSWORD '" + password + "'")
	there, _ := url.Parse(next.URL())
	there.User = u.User
	open(t, there.String()) // makes the schema, which a replica has
	addr := newMovable(t, old.URL())
	stores := map[string]*postgres.Store{"claims": open(t, addr.url), "transactions": openTx(t, addr.url)}
	call := func(name, id string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := behind(stores[name], func(context.Context, *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{}, nil })(ctx, request(id))
		return err
	}
	for name := range stores {
		if err := call(name, name); err != nil {
			t.Fatal(err)
		}
	}
	dir := one[string](d, "SHOW data_directory")
	d.exec("COPY (SELECT 1 WHERE false) TO '" + dir + "/standby.signal'")
	if err := old.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name := range stores {
		t.Logf("%s, at the standby: %s", name, describe(call(name, name+"1")))
	}
	n, _ := url.Parse(next.URL())
	addr.target.Store(n.Host)
	for name := range stores {
		var err error
		end := time.Now().Add(10 * time.Second)
		tries := 0
		for ; time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			tries++
			if err = call(name, fmt.Sprint(name, "2-", tries)); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("%s: %d calls in 10s, none gets to the new primary: %s", name, tries, describe(err))
		} else {
			t.Logf("%s: at the new primary with call %d", name, tries)
		}
	}
}

// A server in transaction mode has taken over a call of one in claim mode that was frozen, and takes long. What the
// latter takes on since it woke up is renewed all the same.
func TestRenewIsNotHeldUp(t *testing.T) {
	d := newDatabase(t)
	line := newLine(t, d.url)
	frozen, other, tx := open(t, line.url, postgres.WithLease(time.Second)), open(t, d.url, postgres.WithLease(time.Second)), openTx(t, d.url)
	begin(t, frozen, "x", idempotency.New) // its handler goes on
	line.hold()
	until(t, "the call is taken over", func() bool {
		begun, err := tx.Begin(t.Context(), keyOf("x"), fingerprint)
		return err == nil && begun.State == idempotency.Orphaned
	}) // and runs
	line.release()
	var y idempotency.Begun
	until(t, "it is back", func() bool {
		var err error
		y, err = frozen.Begin(t.Context(), keyOf("y"), fingerprint)
		return err == nil && y.State == idempotency.New
	})
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if begun, err := other.Begin(t.Context(), keyOf("y"), fingerprint); err == nil && begun.State != idempotency.InFlight {
			t.Fatalf("state %d: taken over from a holder that lives and reaches PostgreSQL; its Complete: %v",
				begun.State, frozen.Complete(t.Context(), y.Token, reply("y")))
		}
	}
}

// PostgreSQL's clock was three days ahead for a while. Half a day later there is a partition for now all the same.
func TestClockWasAhead(t *testing.T) {
	d := newDatabase(t)
	s := open(t, d.url)
	def := one[string](d, "SELECT pg_get_functiondef('rabbitrpc.prepare(interval)'::regprocedure)")
	d.exec(strings.ReplaceAll(def, "clock_timestamp()", "(clock_timestamp() + interval '3 days')"))
	d.exec("SELECT rabbitrpc.prepare('24h')") // as maintainAll does
	d.exec(def)                               // the clock is right again
	begun := begin(t, s, "1", idempotency.New)
	if err := s.Complete(t.Context(), begun.Token, reply("1")); err != nil {
		t.Fatal(err)
	}
	d.age("19h") // which passes
	var err error
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err = s.Begin(t.Context(), keyOf("2"), fingerprint); err == nil {
			return
		}
	}
	open(t, d.url) // nor does a restart help
	_, err = s.Begin(t.Context(), keyOf("2"), fingerprint)
	t.Errorf("Begin = %v; the next partition begins in %s", err,
		one[string](d, "SELECT (min(lower) - now())::text FROM rabbitrpc.partitions WHERE lower > now()"))
}

// The handler has an effect elsewhere, too, and PostgreSQL goes away under it: whoever is told must not take it for
// a call without an effect.
func TestOutageUnderAHandler(t *testing.T) {
	d := newDatabase(t)
	line := newLine(t, d.url)
	s := openTx(t, line.url)
	elsewhere := 0
	h := behind(s, func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		elsewhere++
		line.refuse(true)
		line.cut()
		return pay(ctx, req)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := h(ctx, request("1"))
	if rpc.Executed(err) == rpc.ExecutedNo {
		t.Errorf("%d effects elsewhere, and the answer is: %s", elsewhere, describe(err))
	}
}

// failover is a pair of servers behind one address: the first becomes a standby of itself, the second has what was
// replicated. No call but one that runs is there to notice.
func failover(t *testing.T, id string, opts ...postgres.Option) (s *postgres.Store, begun idempotency.Begun, move func(), next *database) {
	t.Helper()
	old, other := testpostgres.Own(t), testpostgres.Own(t)
	d, e := newDatabaseAt(t, old.URL()), newDatabaseAt(t, other.URL())
	u, _ := url.Parse(old.URL())
	password, _ := u.User.Password()
	e.exec("ALTER ROLE postgres PASSWORD '" + password + "'")
	n, _ := url.Parse(other.URL())
	n.User = u.User
	begin(t, open(t, n.String(), postgres.WithLease(time.Minute)), id, idempotency.New)
	addr := newMovable(t, old.URL())
	s = open(t, addr.url, opts...)
	begun = begin(t, s, id, idempotency.New)
	e.exec("UPDATE rabbitrpc.records SET fence = $1, lease = clock_timestamp() + interval '4s'", int64(begun.Token.Fence))
	dir := one[string](d, "SHOW data_directory")
	d.exec("COPY (SELECT 1 WHERE false) TO '" + dir + "/standby.signal'")
	if err := old.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, begun, func() { addr.target.Store(n.Host) }, e
}

func TestCompleteAfterFailover(t *testing.T) {
	s, begun, move, _ := failover(t, "x")
	time.AfterFunc(time.Second, move)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as the interceptor
	defer cancel()
	if err := s.Complete(ctx, begun.Token, reply("x")); err != nil {
		t.Errorf("Complete = %v, though the new primary was there for 4 of 5 seconds", err)
	}
}

func TestRenewAfterFailover(t *testing.T) {
	_, _, move, next := failover(t, "x", postgres.WithLease(3*time.Second))
	time.Sleep(2600 * time.Millisecond) // a renewal meets the standby
	move()
	time.Sleep(5 * time.Second)
	if left := one[float64](next, remaining); left < 0 {
		t.Errorf("lease is over since %.1fs, and its holder has been able to reach the new primary for 5s", -left)
	}
}

// What runs in one schema is nobody's business in another.
func TestSchemasAreApartWhileCallsRun(t *testing.T) {
	d := newDatabase(t)
	one, other := openTx(t, d.url, postgres.WithSchema("one")), openTx(t, d.url, postgres.WithSchema("other"))
	begin(t, one, "1", idempotency.New)
	for _, fp := range []idempotency.Fingerprint{fingerprint, {1}} {
		begun, err := other.Begin(t.Context(), keyOf("1"), fp)
		if err != nil || begun.State != idempotency.New {
			t.Errorf("Begin = state %d, %v, want it new", begun.State, err)
			continue
		}
		if err := other.Abandon(t.Context(), begun.Token); err != nil {
			t.Error(err)
		}
	}
}

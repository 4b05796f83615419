package postgres_test

import (
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A pair is two servers with one address. The second has a schema, and what a test replicates.
type pair struct {
	t      *testing.T
	line   *line // the address
	server *chaos.Postgres
	first  *database
	second *database
	heir   string // URL of the second, with the user and password of the first
}

func newPair(t *testing.T) *pair {
	t.Helper()
	first, second := testpostgres.Own(t), testpostgres.Own(t)
	p := &pair{
		t: t, line: newLine(t, first.URL()), server: first, first: newDatabaseAt(t, first.URL()), second: newDatabaseAt(t, second.URL()),
	}
	from, err := url.Parse(first.URL())
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(second.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := from.User.Password()
	p.second.exec("ALTER ROLE postgres PASSWORD '" + password + "'")
	to.User = from.User
	p.heir = to.String()
	open(t, p.heir) // makes the schema
	return p
}

// replicate has the second know a claim.
func (p *pair) replicate(id string, begun idempotency.Begun) {
	p.t.Helper()
	begin(p.t, open(p.t, p.heir, postgres.WithLease(time.Minute)), id, idempotency.New)
	p.second.exec("UPDATE rabbitrpc.records SET fence = $1, lease = clock_timestamp() + interval '4s'", int64(begun.Token.Fence))
}

// demote has the first come back as a standby, while the address still leads there.
func (p *pair) demote() {
	p.t.Helper()
	dir := one[string](p.first, "SHOW data_directory")
	p.first.exec("COPY (SELECT 1 WHERE false) TO '" + dir + "/standby.signal'")
	if err := p.server.Stop(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	if err := p.server.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// promote has the address lead to the second.
func (p *pair) promote() {
	p.t.Helper()
	u, err := url.Parse(p.heir)
	if err != nil {
		p.t.Fatal(err)
	}
	p.line.lead(u.Host)
}

// Calls get to the new primary once the address leads there, though they met the standby before.
func TestFailover(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(testing.TB, string, ...postgres.Option) *postgres.Store
	}{
		{"claims", open},
		{"transactions", openTx},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t)
			h := behind(tt.open(t, p.line.url), func(context.Context, *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{}, nil })
			calls := 0
			call := func() bool {
				calls++
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := h(ctx, request(strconv.Itoa(calls)))
				return err == nil
			}
			if !call() {
				t.Fatal("the primary takes no calls")
			}
			p.demote()
			if call() {
				t.Fatal("a standby takes calls: the test shows nothing")
			}
			p.promote()
			until(t, "the new primary takes calls", call)
		})
	}
}

func TestCompleteAfterFailover(t *testing.T) {
	p := newPair(t)
	s := open(t, p.line.url)
	begun := begin(t, s, "x", idempotency.New)
	p.replicate("x", begun)
	p.demote()
	completed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as the interceptor
		defer cancel()
		completed <- s.Complete(ctx, begun.Token, reply("x"))
	}()
	until(t, "it is at the standby", func() bool { return p.line.open() > 0 })
	p.promote()
	if err := <-completed; err != nil {
		t.Errorf("Complete = %v, though the new primary was there", err)
	}
}

func TestRenewAfterFailover(t *testing.T) {
	p := newPair(t)
	log := &testlog.Log{}
	s := open(t, p.line.url, postgres.WithLease(3*time.Second), postgres.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	p.replicate("x", begin(t, s, "x", idempotency.New))
	const lease = "SELECT lease FROM rabbitrpc.records"
	replicated := one[time.Time](p.second, lease)
	p.demote()
	until(t, "a renewal has met the standby", func() bool { return strings.Contains(log.String(), "read-only") })
	p.promote()
	until(t, "the new primary has a renewal", func() bool { return one[time.Time](p.second, lease).After(replicated) })
}

// A server in transaction mode has taken over a call of one in claim mode that was frozen, and takes long. What the
// latter takes on since it woke up is renewed all the same.
func TestRenewIsNotHeldUp(t *testing.T) {
	d := newDatabase(t)
	line := newLine(t, d.url)
	frozen, other := open(t, line.url, postgres.WithLease(time.Second)), openTx(t, d.url)
	begin(t, frozen, "x", idempotency.New) // its handler goes on
	line.hold()
	until(t, "the call is taken over", func() bool {
		begun, err := other.Begin(t.Context(), keyOf("x"), fingerprint)
		return err == nil && begun.State == idempotency.Orphaned
	}) // and runs
	line.release()
	until(t, "it is back", func() bool {
		begun, err := frozen.Begin(t.Context(), keyOf("y"), fingerprint)
		return err == nil && begun.State == idempotency.New
	})
	const latest = "SELECT max(lease) FROM rabbitrpc.records" // that of y
	first := one[time.Time](d, latest)
	until(t, "the claim is renewed", func() bool { return one[time.Time](d, latest).After(first) })
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
	until(t, "there is a partition for now", func() bool {
		_, err := s.Begin(t.Context(), keyOf("2"), fingerprint)
		return err == nil
	})
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

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// patience is for what happens soon, on a machine that may be busy.
const patience = 30 * time.Second

// open opens a store that is closed when the test ends.
func open(t testing.TB, url string, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// database is an empty one with a table for effects, on a connection of its own.
type database struct {
	t    testing.TB
	url  string
	conn *pgx.Conn
}

func newDatabase(t testing.TB) *database { return newDatabaseAt(t, testpostgres.URL(t)) }

func newDatabaseAt(t testing.TB, url string) *database {
	t.Helper()
	d := &database{t: t, url: url, conn: connect(t, url)}
	d.exec("CREATE TABLE effects (id text)")
	return d
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func (d *database) exec(sql string, args ...any) {
	d.t.Helper()
	if _, err := d.conn.Exec(context.Background(), sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

// one returns the only value of the only row.
func one[T any](d *database, sql string, args ...any) (v T) {
	d.t.Helper()
	if err := d.conn.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func (d *database) effects(id string) int {
	d.t.Helper()
	return one[int](d, "SELECT count(*) FROM effects WHERE id = $1", id)
}

func (d *database) wantEffects(id string, want int) {
	d.t.Helper()
	if got := d.effects(id); got != want {
		d.t.Errorf("%d effects of call %s, want %d", got, id, want)
	}
}

// until waits for the condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v until %s", patience, what)
		}
	}
}

// pay is a handler that has an effect in the transaction of the call.
func pay(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
	if _, err := postgres.Tx(ctx).Exec(ctx, "INSERT INTO effects VALUES ($1)", req.ID); err != nil {
		return nil, fmt.Errorf("pay: %w", err)
	}
	return &rpc.Reply{Body: []byte("paid " + req.ID)}, nil
}

func behind(s idempotency.Store, h rpc.Handler) rpc.Handler {
	return rpc.Chain(h, idempotency.Interceptor(s))
}

func request(id string) *rpc.Request {
	return &rpc.Request{Service: "s", Method: "m", Client: "c", ID: id, Attempt: 1, Body: []byte("payload")}
}

var fingerprint = idempotency.FingerprintOf(request(""))

func keyOf(id string) idempotency.Key { return idempotency.KeyOf(request(id)) }

func reply(body string) *idempotency.Record {
	return &idempotency.Record{Reply: &rpc.Reply{Body: []byte(body)}}
}

func begin(t testing.TB, s idempotency.Store, id string, want idempotency.State) idempotency.Begun {
	t.Helper()
	begun, err := s.Begin(t.Context(), keyOf(id), fingerprint)
	if err != nil || begun.State != want {
		t.Fatalf("Begin = state %d, %v, want state %d", begun.State, err, want)
	}
	return begun
}

func wantReply(t testing.TB, r *rpc.Reply, err error, body string, replayed bool) {
	t.Helper()
	if err != nil || string(r.Body) != body || r.Replayed != replayed {
		t.Errorf("reply = %+v, %v, want %q, replayed %t", r, describe(err), body, replayed)
	}
}

func wantError(t testing.TB, err error, code rpc.Code, executed rpc.Execution) {
	t.Helper()
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e.Code != code || e.Executed != executed {
		t.Errorf("error = %v, want %v, executed %v", describe(err), code, executed)
	}
}

// describe is an error with its cause, which an [rpc.Error] hides.
func describe(err error) string {
	text := fmt.Sprint(err)
	if e, ok := errors.AsType[*rpc.Error](err); ok && e != nil {
		text += fmt.Sprintf(", executed %v, because of: %v", e.Executed, e.Unwrap())
	}
	return text
}

// all is all that can be printed of an error and its causes.
func all(err error) string {
	text := ""
	for ; err != nil; err = errors.Unwrap(err) {
		text += fmt.Sprintf("%v\n%+v\n%#v\n", err, err, err)
	}
	return text
}

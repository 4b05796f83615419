package postgres_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func openTx(t testing.TB, url string, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	return open(t, url, append([]postgres.Option{postgres.WithTransactions()}, opts...)...)
}

func TestEffectAndRecordAreOne(t *testing.T) {
	d := newDatabase(t)
	s, other := openTx(t, d.url), openTx(t, d.url)
	r, err := behind(s, pay)(t.Context(), request("1"))
	wantReply(t, r, err, "paid 1", false)
	r, err = behind(other, pay)(t.Context(), request("1"))
	wantReply(t, r, err, "paid 1", true)
	d.wantEffects("1", 1)

	begun := begin(t, s, "2", idempotency.New)
	if _, err := pay(begun.Bind(t.Context()), request("2")); err != nil {
		t.Fatal(err)
	}
	d.wantEffects("2", 0)
	if err := s.Abandon(t.Context(), begun.Token); err != nil {
		t.Fatal(err)
	}
	d.wantEffects("2", 0)
	begin(t, other, "2", idempotency.New)
}

func TestFailureIsRecordedWithoutEffect(t *testing.T) {
	verdict := rpc.Errorf(rpc.FailedPrecondition, "no money")
	for _, tt := range []struct {
		name    string
		handler rpc.Handler
		code    rpc.Code
	}{
		{"handler says no", func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			_, err := pay(ctx, req)
			return nil, errors.Join(verdict, err)
		}, rpc.FailedPrecondition},
		{"statement fails, handler says no", func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			_, _ = pay(ctx, req)
			if _, err := postgres.Tx(ctx).Exec(ctx, "SELECT 1/0"); err == nil {
				t.Error("1/0 has a value")
			}
			return nil, verdict
		}, rpc.FailedPrecondition},
		{"nested transaction is committed, handler says no", func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			err := pgx.BeginFunc(ctx, postgres.Tx(ctx), func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO effects VALUES ($1)", req.ID)
				return err
			})
			return nil, errors.Join(verdict, err)
		}, rpc.FailedPrecondition},
		{"handler panics", func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			_, _ = pay(ctx, req)
			panic("broken")
		}, rpc.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDatabase(t)
			s := openTx(t, d.url)
			var ran atomic.Int32
			h := behind(s, func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
				ran.Add(1)
				return tt.handler(ctx, req)
			})
			for range 2 {
				func() {
					defer func() { _ = recover() }()
					_, err := h(t.Context(), request("1"))
					wantError(t, err, tt.code, rpc.ExecutedUnknown)
				}()
			}
			if ran.Load() != 1 {
				t.Errorf("handler ran %d times, want once", ran.Load())
			}
			d.wantEffects("1", 0)
		})
	}
}

func TestNestedTransaction(t *testing.T) {
	d := newDatabase(t)
	h := behind(openTx(t, d.url), func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		err := pgx.BeginFunc(ctx, postgres.Tx(ctx), func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO effects VALUES ('undone')"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "SELECT 1/0")
			return err
		})
		if err == nil {
			t.Error("1/0 has a value")
		}
		return pay(ctx, req)
	})
	r, err := h(t.Context(), request("1"))
	wantReply(t, r, err, "paid 1", false)
	d.wantEffects("1", 1)
	d.wantEffects("undone", 0)
}

// What the handler breaks has no effect, and is never answered as done.
func TestBrokenHandler(t *testing.T) {
	swallow := func(sql string) rpc.Handler {
		return func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			_, _ = pay(ctx, req)
			_, _ = postgres.Tx(ctx).Exec(ctx, sql)
			_, _ = pay(ctx, req) // outside of the transaction, if that is possible
			return &rpc.Reply{Body: []byte("done")}, nil
		}
	}
	for _, tt := range []struct {
		name     string
		handler  rpc.Handler
		code     rpc.Code
		executed rpc.Execution
		effects  int
		again    rpc.Code
	}{
		{"replies after a failed statement", swallow("SELECT 1/0"), rpc.Aborted, rpc.ExecutedUnknown, 0, rpc.Aborted},
		{"rolls back in SQL", swallow("ROLLBACK"), rpc.Unavailable, rpc.ExecutedUnknown, 0, rpc.Unavailable},
		{"commits in SQL", swallow("COMMIT"), rpc.Unavailable, rpc.ExecutedUnknown, 1, rpc.Internal},
		{"releases the savepoint and fails", func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			_, _ = pay(ctx, req)
			_, err := postgres.Tx(ctx).Exec(ctx, "RELEASE SAVEPOINT rabbitrpc")
			return nil, errors.Join(errors.New("no"), err)
		}, rpc.Aborted, rpc.ExecutedUnknown, 0, rpc.Aborted},
		{"leaves rows open", func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			_, _ = pay(ctx, req)
			_, err := postgres.Tx(ctx).Query(ctx, "SELECT generate_series(1, 1000000)")
			return &rpc.Reply{}, err
		}, rpc.Aborted, rpc.ExecutedUnknown, 0, rpc.Aborted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDatabase(t)
			h := behind(openTx(t, d.url), tt.handler)
			_, err := h(t.Context(), request("1"))
			wantError(t, err, tt.code, tt.executed)
			_, err = h(t.Context(), request("1"))
			wantError(t, err, tt.again, tt.executed)
			d.wantEffects("1", tt.effects)
		})
	}
}

func TestHandlerMayNotEndTheTransaction(t *testing.T) {
	d := newDatabase(t)
	var kept, nested pgx.Tx
	s := openTx(t, d.url, postgres.WithConnections(1))
	h := behind(s, func(ctx context.Context, req *rpc.Request) (r *rpc.Reply, err error) {
		kept = postgres.Tx(ctx)
		for _, end := range []func(context.Context) error{kept.Commit, kept.Rollback} {
			if err := end(ctx); !errors.Is(err, postgres.ErrNotYours) {
				t.Errorf("Commit or Rollback = %v, want ErrNotYours", err)
			}
		}
		if nested, err = kept.Begin(ctx); err != nil {
			return nil, err
		}
		return pay(ctx, req)
	})
	r, err := h(t.Context(), request("1"))
	wantReply(t, r, err, "paid 1", false)
	d.wantEffects("1", 1)

	begun := begin(t, s, "2", idempotency.New) // on the same connection
	for _, tx := range []pgx.Tx{kept, nested} {
		if _, err := tx.Exec(t.Context(), "INSERT INTO effects VALUES ('late')"); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("Exec after the call = %v, want ErrTxClosed", err)
		}
		if _, err := tx.Begin(t.Context()); !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("Begin after the call = %v, want ErrTxClosed", err)
		}
	}
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatal(err)
	}
	d.wantEffects("late", 0)
	if postgres.Tx(t.Context()) != nil {
		t.Error("a transaction outside of a handler")
	}
}

// Two calls read what the other writes: under serializable one of them must run again.
func TestSerializationFailureRunsAgain(t *testing.T) {
	d := newDatabase(t)
	var ran atomic.Int32
	both := newMeeting(2)
	h := behind(openTx(t, d.url, postgres.WithSerializable()), func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		n := ran.Add(1)
		var count int
		if err := postgres.Tx(ctx).QueryRow(ctx, "SELECT count(*) FROM effects").Scan(&count); err != nil {
			return nil, err
		}
		if n <= 2 {
			both.meet()
		}
		if _, err := pay(ctx, req); err != nil {
			return nil, err
		}
		return &rpc.Reply{Body: fmt.Append(nil, count)}, nil
	})
	seen := make(chan string, 2)
	for _, id := range []string{"1", "2"} {
		go func() {
			r, err := h(t.Context(), request(id))
			if err != nil {
				t.Error(describe(err))
				r = &rpc.Reply{}
			}
			seen <- string(r.Body)
		}()
	}
	if a, b := <-seen, <-seen; a == b {
		t.Errorf("both saw %s effects before theirs, want one after the other", a)
	}
	if ran.Load() != 3 {
		t.Errorf("handlers ran %d times, want 3", ran.Load())
	}
	d.wantEffects("1", 1)
	d.wantEffects("2", 1)
}

// Calls that have nothing to do with each other do not meet in what the store writes.
func TestSerializableCallsDoNotCollide(t *testing.T) {
	s := openTx(t, testpostgres.URL(t), postgres.WithSerializable())
	const callers, calls = 10, 20
	var ran atomic.Int32
	h := behind(s, func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		ran.Add(1)
		return &rpc.Reply{}, nil
	})
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for n := range calls {
				if _, err := h(t.Context(), request(fmt.Sprint(caller, ".", n))); err != nil {
					t.Error(describe(err))
				}
			}
		})
	}
	wg.Wait()
	if got := ran.Load(); got != callers*calls {
		t.Errorf("handlers ran %d times for %d calls", got, callers*calls)
	}
}

// Under serializable what a claim looks up may be older than its locks. Then it must not take what it does not
// see for nothing.
func TestOldSnapshot(t *testing.T) {
	d := newDatabase(t)
	s := openTx(t, d.url, postgres.WithSerializable())
	key := sha256.Sum256(keyOf("1").Bytes())
	locks := []int64{1, int64(binary.BigEndian.Uint64(key[:]))}
	const claim = "SELECT state FROM rabbitrpc.claim($1, $2, $3, null, '1000', '1000')"
	snapshot := func() (tx pgx.Tx) {
		t.Helper()
		tx, err := connect(t, d.url).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.Serializable})
		if err == nil {
			_, err = tx.Exec(t.Context(), "SELECT FROM effects")
		}
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	alone, contested := snapshot(), snapshot()
	begun := begin(t, s, "1", idempotency.New)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatal(err)
	}
	_, err := alone.Exec(t.Context(), claim, key[:], fingerprint[:], locks)
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "40001" {
		t.Errorf("claim of what was done since = %v, want a serialization failure", err)
	}
	if err := alone.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Somebody asks for it with another payload at that moment. Who sees that must look again.
	d.exec("SELECT pg_advisory_lock($1)", locks[1])
	var state string
	if err := contested.QueryRow(t.Context(), claim, key[:], fingerprint[:], locks).Scan(&state); err != nil || state != "contested" {
		t.Errorf("claim = %s, %v, want it contested", state, err)
	}
	begin(t, s, "1", idempotency.Done)
}

func TestDeadlockRunsAgain(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE accounts (id text PRIMARY KEY, balance int)")
	d.exec("INSERT INTO accounts VALUES ('1', 0), ('2', 0)")
	var ran atomic.Int32
	both := newMeeting(2)
	h := behind(openTx(t, d.url), func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		n := ran.Add(1)
		for _, id := range []string{req.ID, map[string]string{"1": "2", "2": "1"}[req.ID]} {
			if _, err := postgres.Tx(ctx).Exec(ctx, "UPDATE accounts SET balance = balance + 1 WHERE id = $1", id); err != nil {
				return nil, fmt.Errorf("pay: %w", err)
			}
			if n <= 2 {
				both.meet()
			}
		}
		return &rpc.Reply{}, nil
	})
	var wg sync.WaitGroup
	for _, id := range []string{"1", "2"} {
		wg.Go(func() {
			if _, err := h(t.Context(), request(id)); err != nil {
				t.Error(describe(err))
			}
		})
	}
	wg.Wait()
	if got := one[int](d, "SELECT sum(balance) FROM accounts"); got != 4 || ran.Load() != 3 {
		t.Errorf("sum = %d after %d runs, want 4 after 3", got, ran.Load())
	}
}

// meeting has several wait for each other, the first time.
type meeting struct {
	missing atomic.Int32
	all     chan struct{}
}

func newMeeting(n int32) *meeting {
	m := &meeting{all: make(chan struct{})}
	m.missing.Store(n)
	return m
}

func (m *meeting) meet() {
	if m.missing.Add(-1) == 0 {
		close(m.all)
	}
	<-m.all
}

// A handler whose context ends during a statement loses its connection: the call had no effect, and may run again.
func TestContextEndsDuringStatement(t *testing.T) {
	for name, answer := range map[string]func(error) (*rpc.Reply, error){
		"fails":   func(err error) (*rpc.Reply, error) { return nil, err },
		"replies": func(error) (*rpc.Reply, error) { return &rpc.Reply{}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			s := openTx(t, d.url)
			ctx, cancel := context.WithCancel(t.Context())
			h := behind(s, func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
				if _, err := pay(ctx, req); err != nil {
					return nil, err
				}
				time.AfterFunc(10*time.Millisecond, cancel)
				_, err := postgres.Tx(ctx).Exec(ctx, "SELECT pg_sleep(60)")
				return answer(err)
			})
			_, err := h(ctx, request("1"))
			wantError(t, err, rpc.Aborted, rpc.ExecutedUnknown)
			d.wantEffects("1", 0)
			r, err := behind(s, pay)(t.Context(), request("1"))
			wantReply(t, r, err, "paid 1", false)
			d.wantEffects("1", 1)
		})
	}
}

// A handler that fails because its time is over has given no verdict.
func TestContextEndsBeforeHandler(t *testing.T) {
	d := newDatabase(t)
	s := openTx(t, d.url)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := behind(s, func(ctx context.Context, _ *rpc.Request) (*rpc.Reply, error) {
		cancel()
		return nil, ctx.Err()
	})(ctx, request("1"))
	wantError(t, err, rpc.Aborted, rpc.ExecutedUnknown)
	r, err := behind(s, pay)(t.Context(), request("1"))
	wantReply(t, r, err, "paid 1", false)
}

// What is configured for transactions is not for those of calls, which may take the time that they have.
func TestConfiguredTimeouts(t *testing.T) {
	d := newDatabase(t)
	d.exec(`DO $$ DECLARE timeout text; BEGIN
		FOR timeout IN SELECT name FROM pg_settings
			WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') LOOP
			EXECUTE format('ALTER DATABASE %I SET %I = 500', current_database(), timeout);
		END LOOP;
	END $$`)
	s := openTx(t, d.url)
	var ran atomic.Int32
	r, err := behind(s, func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
		ran.Add(1)
		if _, err := postgres.Tx(ctx).Exec(ctx, "SELECT pg_sleep(0.6)"); err != nil {
			return nil, err
		}
		time.Sleep(600 * time.Millisecond)
		return pay(ctx, req)
	})(t.Context(), request("1"))
	wantReply(t, r, err, "paid 1", false)
	d.wantEffects("1", 1)
	if n := ran.Load(); n != 1 {
		t.Errorf("the handler ran %d times, want once", n)
	}
}

// A server is frozen in a handler: PostgreSQL ends its transaction, and another server runs the call.
func TestFrozenTransaction(t *testing.T) {
	for name, opts := range map[string][]postgres.Option{
		"past its deadline": nil,
		"past its lease":    {postgres.WithLease(time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			frozen, other := openTx(t, d.url, opts...), openTx(t, d.url)
			entered, wake := make(chan struct{}), make(chan struct{})
			answered := make(chan error)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if opts != nil {
				ctx = t.Context()
			}
			var ran atomic.Int32
			h := behind(frozen, func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
				r, err := pay(ctx, req)
				if ran.Add(1) == 1 {
					close(entered)
					<-wake
				}
				return r, err
			})
			go func() {
				r, err := h(ctx, request("1"))
				if err == nil && !r.Replayed {
					err = errors.New("answered as done by itself")
				}
				answered <- err
			}()
			<-entered
			within, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := behind(other, pay)(within, request("1"))
			wantReply(t, r, err, "paid 1", false)
			close(wake)
			if err := <-answered; opts != nil && err != nil {
				t.Errorf("the frozen server = %v, want the stored reply", describe(err))
			} else if opts == nil {
				wantError(t, err, rpc.Aborted, rpc.ExecutedUnknown)
			}
			d.wantEffects("1", 1)
		})
	}
}

func TestNoConnectionFree(t *testing.T) {
	d := newDatabase(t)
	s := openTx(t, d.url, postgres.WithConnections(1))
	begun := begin(t, s, "1", idempotency.New)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Begin(ctx, keyOf("2"), fingerprint)
	wantError(t, err, rpc.ResourceExhausted, rpc.ExecutedNo)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatal(err)
	}
	begin(t, s, "2", idempotency.New)
}

package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/idempotency/storetest"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

var modes = []struct {
	name    string
	options []postgres.Option
}{
	{"claims", nil},
	{"transactions", []postgres.Option{postgres.WithTransactions()}},
	{"serializable", []postgres.Option{postgres.WithTransactions(), postgres.WithSerializable()}},
}

func TestStore(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) idempotency.Store { return open(t, testpostgres.URL(t), m.options...) })
		})
	}
}

// Three servers get the same calls at the same time, each several times.
func TestOneEffect(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			d := newDatabase(t)
			var ran [20]atomic.Int32
			var wg sync.WaitGroup
			for server := range 3 {
				s := open(t, d.url, append(m.options, postgres.WithConnections(10))...)
				h := behind(s, func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
					if postgres.Tx(ctx) != nil {
						return pay(ctx, req)
					}
					var n int
					fmt.Sscan(req.ID, &n)
					ran[n].Add(1)
					return &rpc.Reply{Body: []byte("paid " + req.ID)}, nil
				})
				for i := range 2 * len(ran) {
					wg.Go(func() {
						id := fmt.Sprint((i + server*7) % len(ran))
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						r, err := h(ctx, request(id))
						if err != nil || string(r.Body) != "paid "+id {
							t.Errorf("reply = %+v, %v, want that of call %s", r, describe(err), id)
						}
					})
				}
			}
			wg.Wait()
			for n := range ran {
				if m.options != nil {
					d.wantEffects(fmt.Sprint(n), 1)
				} else if got := ran[n].Load(); got != 1 {
					t.Errorf("call %d ran %d times, want once", n, got)
				}
			}
		})
	}
}

// clock is a context whose deadline passes when it is told to, and that does not end then: as if the process
// was slow.
type clock struct {
	context.Context
	deadline func() time.Time
}

func (c clock) Deadline() (time.Time, bool) { return c.deadline(), true }

// The deadline is checked before the claim, when the call may still be known, and after it.
func TestDeadlinePassesDuringBegin(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			d := newDatabase(t)
			s := open(t, d.url, m.options...)
			var asked atomic.Int32
			ctx := clock{t.Context(), func() time.Time {
				if asked.Add(1) <= 2 {
					return time.Now().Add(time.Minute)
				}
				return time.Now().Add(-time.Second)
			}}
			h := behind(s, func(context.Context, *rpc.Request) (*rpc.Reply, error) {
				t.Error("the call ran")
				return &rpc.Reply{}, nil
			})
			_, err := h(ctx, request("1"))
			wantError(t, err, rpc.Unavailable, rpc.ExecutedNo)
			if m.options != nil {
				begin(t, s, "1", idempotency.New)
			} else { // an orphan stays one
				begin(t, open(t, d.url, postgres.WithLease(time.Minute)), "1", idempotency.New)
				d.exec("UPDATE rabbitrpc.records SET lease = clock_timestamp() - interval '1s'")
				asked.Store(0)
				if _, err := s.Begin(ctx, keyOf("1"), fingerprint); err == nil {
					t.Error("claimed past the deadline")
				}
				if begun := begin(t, s, "1", idempotency.Orphaned); begun.Claims != 2 {
					t.Errorf("claim %d, want the second", begun.Claims)
				}
			}
		})
	}
}

// After PostgreSQL was started again the connections of the pool are all lost, which no call need notice.
func TestLostConnections(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			line := newLine(t, testpostgres.URL(t))
			s := open(t, line.url, m.options...)
			var claims []idempotency.Begun
			for n := range 5 {
				claims = append(claims, begin(t, s, fmt.Sprint("first ", n), idempotency.New))
			}
			for _, begun := range claims {
				if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
					t.Fatal(err)
				}
			}
			line.cut()
			for n := range 5 {
				begin(t, s, fmt.Sprint("second ", n), idempotency.New)
			}
		})
	}
}

// The isolation that is configured does not count.
func TestConfiguredIsolation(t *testing.T) {
	url := testpostgres.URL(t) + "&default_transaction_isolation=repeatable%20read"
	for _, m := range modes {
		s := open(t, url, m.options...)
		begun := begin(t, s, m.name, idempotency.New)
		if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
			t.Error(err)
		}
	}
}

func TestTimeLeftBeyondRetention(t *testing.T) {
	s := open(t, testpostgres.URL(t), postgres.WithRetention(time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), 31*time.Second)
	defer cancel()
	_, err := s.Begin(ctx, keyOf("1"), fingerprint)
	wantError(t, err, rpc.FailedPrecondition, rpc.ExecutedNo)
	ctx, cancel = context.WithTimeout(t.Context(), 29*time.Second)
	defer cancel()
	if _, err := s.Begin(ctx, keyOf("1"), fingerprint); err != nil {
		t.Error(err)
	}
}

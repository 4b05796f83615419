package endtoend

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Hundreds of callers, whose calls wait for each other, lose their connections and those of their server in the middle of that: each gets its
// answer, and each call has one effect.
func TestCallsInBulk(t *testing.T) {
	const callers, workers = 300, 1024
	m := open(t, testbroker.URL(t))
	method := service(t, m)
	line, serverLine := proxy(t, testbroker.URL(t)), proxy(t, testbroker.URL(t))
	var effects sync.Map
	serve(t, gathering{open(t, serverLine.URL())}, method, func(_ context.Context, n int) (int, error) {
		if _, again := effects.LoadOrStore(n, true); again {
			t.Errorf("call %d ran twice", n)
		}
		return 2 * n, nil
	}, server.WithWorkers(workers))
	c := newClient(t, gathering{open(t, line.URL())})

	calling, stop := context.WithCancel(t.Context())
	defer stop()
	var begun, answered atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for calling.Err() == nil {
				n := int(begun.Add(1))
				if got, err := client.Call(t.Context(), c, method, n, client.WithTimeout(20*time.Second)); err != nil || got != 2*n {
					t.Errorf("call %d: got %d, %v", n, got, err)
				}
				answered.Add(1)
			}
		})
	}
	for _, p := range []*chaos.Proxy{line, serverLine, line, serverLine} {
		before := answered.Load()
		wait(t, "calls to be answered", func() bool { return answered.Load() > before+1000 })
		p.Inject(chaos.Reset{}).Heal()
	}
	stop()
	all.Wait()
	if st := c.Stats(); st.Resent == 0 {
		t.Errorf("got %+v: no call was sent again, so the test shows nothing", st)
	}
}

// A gathering connector has sessions that always gather.
type gathering struct{ conn.Connector }

type gatheringSession struct{ conn.Session }

func (g gathering) Session(ctx context.Context) (conn.Session, error) {
	s, err := g.Connector.Session(ctx)
	if err == nil {
		s.Gather(2*time.Millisecond, time.Now().Add(time.Hour))
	}
	return gatheringSession{s}, err
}

func (gatheringSession) Gather(time.Duration, time.Time) {}

package endtoend

import (
	"context"
	"os"
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
	if os.Getenv("RABBITRPC_DATAPLANE") == "off" {
		t.Skip("the library's connections know nothing of it")
	}
	const callers, workers, takes = 300, 1024, 8 * time.Millisecond
	m := open(t, testbroker.URL(t))
	method := service(t, m)
	line, serverLine := proxy(t, testbroker.URL(t)), proxy(t, testbroker.URL(t))
	asks := &gathers{Connector: open(t, line.URL())}
	serves := &gathers{Connector: open(t, serverLine.URL())}
	var effects sync.Map
	serve(t, serves, method, func(_ context.Context, n int) (int, error) {
		time.Sleep(takes)
		if _, again := effects.LoadOrStore(n, true); again {
			t.Errorf("call %d ran twice", n)
		}
		return 2 * n, nil
	}, server.WithWorkers(workers))
	c := newClient(t, asks)

	calling, stop := context.WithCancel(t.Context())
	defer stop()
	var last atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for calling.Err() == nil {
				n := int(last.Add(1))
				if got, err := client.Call(t.Context(), c, method, n, client.WithTimeout(20*time.Second)); err != nil || got != 2*n {
					t.Errorf("call %d: got %d, %v", n, got, err)
				}
			}
		})
	}
	for _, p := range []*chaos.Proxy{line, serverLine, line, serverLine} {
		before := [2]int64{asks.n.Load(), serves.n.Load()}
		wait(t, "both sides to gather", func() bool { return asks.n.Load() > before[0]+100 && serves.n.Load() > before[1]+100 })
		p.Inject(chaos.Reset{}).Heal()
	}
	stop()
	all.Wait()
	if st := c.Stats(); st.Resent == 0 {
		t.Errorf("got %+v: no call was sent again, so the test shows nothing", st)
	}
}

// gathers counts how often its sessions were told to gather.
type gathers struct {
	conn.Connector
	n atomic.Int64
}

type gatheringSession struct {
	conn.Session
	of *gathers
}

func (g *gathers) Session(ctx context.Context) (conn.Session, error) {
	s, err := g.Connector.Session(ctx)
	return gatheringSession{s, g}, err
}

func (s gatheringSession) Gather(until time.Time) {
	s.of.n.Add(1)
	s.Session.Gather(until)
}

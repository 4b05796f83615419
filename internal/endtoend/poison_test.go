package endtoend

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// keepAlive starts a server process again whenever it ends, as a supervisor does, until it is stopped. It returns how
// often it had to start one.
func keepAlive(t *testing.T, sp spec) (stop func() int) {
	t.Helper()
	end := make(chan struct{})
	starts := 1
	p := start(t, sp)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-p.ended:
				p = launch(t, sp)
				starts++
			case <-end:
				p.close()
				<-p.ended
				return
			}
		}
	})
	stop = sync.OnceValue(func() int { close(end); wg.Wait(); return starts })
	t.Cleanup(func() { stop() })
	return stop
}

// A request that kills whoever runs it ends in the parked queue, its caller is told, and the service goes on.
func TestPoison(t *testing.T) {
	url := testbroker.URL(t)
	m := open(t, url)
	for _, sp := range []spec{
		{URL: url, Store: "none", Quorum: 3},
		{URL: url, Store: "bolt", File: filepath.Join(t.TempDir(), "bolt.db")},
	} {
		t.Run(sp.Store, func(t *testing.T) {
			method := service(t, m)
			sp.Service = method.Service
			parked := wire.ParkedQueue(sp.Service)
			session, err := m.Session(t.Context())
			must(t, err)
			must(t, session.DeleteQueue(t.Context(), parked))
			limit := 5 // by default
			if sp.Quorum > 0 {
				limit = sp.Quorum
			}
			stop := keepAlive(t, sp)
			c := newClient(t, m, client.WaitForServer(), client.WithTimeout(60*time.Second), client.WithoutBreaker())
			poison := rpc.Method[int, int]{Service: sp.Service, Name: "poison"}
			_, err = client.Call(t.Context(), c, poison, 1, client.Durable())
			if rpc.CodeOf(err) != rpc.Internal || rpc.Executed(err) != rpc.ExecutedUnknown {
				t.Errorf("got %v, executed %v, want internal, unknown", err, rpc.Executed(err))
			}
			if got, err := client.Call(t.Context(), c, method, 21); got != 42 || err != nil {
				t.Errorf("another call: got %d, %v", got, err)
			}
			if n := stop(); n != limit+1 {
				t.Errorf("%d servers were started, want %d and the one that parked it", n, limit)
			}
			got := make(chan *conn.Delivery, 1)
			k, err := session.Consume(t.Context(), conn.Consume{Queue: parked, Prefetch: 1}, func(d *conn.Delivery) { got <- d })
			must(t, err)
			defer k.Cancel(t.Context())
			select {
			case d := <-got:
				if p, ok := wire.DecodeParked(&d.Message); !ok || p.Attempts != limit {
					t.Errorf("parked %+v, want %d attempts", p, limit)
				}
				must(t, d.Ack())
			case <-time.After(10 * time.Second):
				t.Error("nothing is parked")
			}
		})
	}
}

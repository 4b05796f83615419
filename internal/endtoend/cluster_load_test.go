package endtoend

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const (
	clusterCallers  = 32
	clusterServers  = 3
	clusterDeadline = time.Minute            // of each call
	lateness        = 500 * time.Millisecond // that a busy machine may add
	clusterWork     = 20 * time.Millisecond  // of a handler: the load is for the faults to meet, not to be one
)

// A stage is a service with three servers and a client on a cluster, under load. Clients and servers know all nodes.
type stage struct {
	*chaos.Cluster
	t       *testing.T
	method  rpc.Method[int, int]
	opts    []server.Option
	queue   string
	servers []*server.Server
	client  *client.Client
	conn    *conn.Manager // the client's
	ran     ledger

	mu      sync.Mutex // guards what follows
	calls   int
	failed  int
	slowest time.Duration
	last    time.Time     // a call ended well
	silence time.Duration // the longest time in which none did
}

// A ledger knows what was executed.
type ledger struct {
	mu  sync.Mutex
	ran map[int]bool // guarded by mu
}

func (l *ledger) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ran[n] = true
}

func (l *ledger) has(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ran[n]
}

func clusterConn(t *testing.T, url string) *conn.Manager {
	return open(t, url, conn.WithHeartbeat(2*time.Second), conn.WithBackoff(50*time.Millisecond, time.Second))
}

func newStage(t *testing.T, c *chaos.Cluster, opts ...server.Option) *stage {
	url := strings.Join(c.URLs(), ",")
	s := &stage{Cluster: c, t: t, opts: opts, conn: clusterConn(t, url), ran: ledger{ran: make(map[int]bool)}}
	s.method = service(t, s.conn)
	s.queue = "rabbitrpc." + s.method.Service
	for range clusterServers {
		s.serve(clusterConn(t, url))
	}
	s.client = newClient(t, s.conn, client.WithTimeout(clusterDeadline))
	return s
}

// serve starts a server, which goes to another node when it loses its own.
func (s *stage) serve(c *conn.Manager) {
	p, _ := serve(s.t, c, s.method, func(_ context.Context, n int) (int, error) {
		s.ran.add(n)
		time.Sleep(clusterWork)
		return 2 * n, nil
	}, append([]server.Option{server.WithWorkers(clusterCallers)}, s.opts...)...)
	s.servers = append(s.servers, p)
}

// rerouted is the number of replies that a server's own node did not take.
func (s *stage) rerouted() (n uint64) {
	for _, p := range s.servers {
		n += p.Stats().Rerouted
	}
	return n
}

// play lets callers call without a pause while do does its worst, and reports how that was.
func (s *stage) play(do func(), opts ...client.CallOption) {
	s.t.Helper()
	if _, err := client.Call(s.t.Context(), s.client, s.method, 1); err != nil {
		s.t.Fatal(err)
	}
	s.last = time.Now()
	ctx, stop := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	for i := range clusterCallers {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n += clusterCallers {
				s.call(n, opts)
			}
		})
	}
	s.more()
	do()
	s.more()
	stop()
	wg.Wait()
	resent, rerouted := s.client.Stats().Resent, s.rerouted()
	s.t.Logf("%d calls, %d failed, %d re-sent, %d replies re-routed, slowest %v, without an answer for %v at most", s.calls, s.failed,
		resent, rerouted, s.slowest.Round(time.Millisecond), s.silence.Round(time.Millisecond))
	if resent+rerouted == 0 {
		s.t.Error("no call was sent again, and no reply: the test shows nothing")
	}
}

func (s *stage) call(n int, opts []client.CallOption) {
	start := time.Now()
	got, err := client.Call(s.t.Context(), s.client, s.method, n, opts...)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.slowest = max(s.slowest, now.Sub(start))
	if now.Sub(start) > clusterDeadline+lateness {
		s.t.Errorf("call %d took %v, want %v at most", n, now.Sub(start), clusterDeadline)
	}
	if err != nil || got != 2*n {
		if s.failed++; s.failed <= 5 {
			s.t.Errorf("call %d after %v: got %d, %v, want %d", n, now.Sub(start), got, err, 2*n)
		}
		return
	}
	s.silence = max(s.silence, now.Sub(s.last))
	s.last = now
}

// more waits until each caller has made about two calls more that ended well.
func (s *stage) more() {
	s.t.Helper()
	ended := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.calls - s.failed
	}
	before := ended()
	wait(s.t, "calls to end well", func() bool { return ended() > before+2*clusterCallers })
}

// home returns where the queue is, as another node than one knows.
func (s *stage) home(but *chaos.Node) *chaos.Node {
	s.t.Helper()
	n, err := s.Home(s.t.Context(), s.queue, s.Others(but)[0])
	must(s.t, err)
	return n
}

// missed waits until the others do not see n any more, and the queue is elsewhere.
func (s *stage) missed(n *chaos.Node) {
	s.t.Helper()
	asked := s.Others(n)[0]
	ask(s.t, "the node to be missed", func() bool {
		seen, err := s.Sees(s.t.Context(), asked)
		return err == nil && len(seen) == len(s.Nodes())-2
	})
	ask(s.t, "another leader", func() bool { return s.home(n) != n })
}

func (s *stage) restore() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	must(s.t, s.Restore(ctx))
}

// ask is wait for what takes processor time to find out.
func ask(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); !done(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

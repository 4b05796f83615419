package endtoend

import (
	"context"
	"net/url"
	"os"
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

// The nodes of a cluster of three are killed, frozen, cut off and restarted under load: each call whose deadline allows it
// ends well.
func TestCluster(t *testing.T) {
	if os.Getenv("RABBITRPC_CLUSTER") == "" {
		t.Skip("starts a cluster: run make chaos-cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := chaos.StartCluster(ctx, 3)
	must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	quorum := server.WithQuorumQueue(20)
	for _, tt := range []struct {
		name string
		test func(*stage)
		opts []server.Option
	}{
		{"leader killed", leaderKilled, []server.Option{quorum}},
		{"leader of a busy service killed", leaderKilled, []server.Option{quorum, server.WithWorkers(4)}},
		{"leader frozen", leaderFrozen, []server.Option{quorum}},
		{"leader frozen with the client", leaderFrozenWithClient, []server.Option{quorum}},
		{"leader cut off", leaderCutOff, []server.Option{quorum}},
		{"reply queue forgotten by a node", replyQueueForgotten, []server.Option{quorum}},
		{"client in the minority", clientInMinority, []server.Option{quorum}},
		{"home of a classic queue down", classicHomeDown, nil},
		{"rolling restart", rollingRestart, []server.Option{quorum}},
		{"majority lost", majorityLost, []server.Option{quorum}},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(newStage(t, c, tt.opts...)) })
	}
}

func leaderKilled(s *stage) {
	// RabbitMQ 3.10.8 may never find a leader again for a queue whose first dies within a second.
	time.Sleep(time.Second)
	leader := s.home(nil)
	s.play(func() {
		must(s.t, leader.Kill())
		s.more()
		s.restore()
	})
}

func leaderFrozen(s *stage) {
	time.Sleep(time.Second)
	frozen(s, s.home(nil))
}

// A client that was with the leader comes back while the queue has none. What RabbitMQ takes from it then it may drop.
func leaderFrozenWithClient(s *stage) {
	time.Sleep(time.Second)
	leader := s.at()
	ask(s.t, "the leader to be where the client is", func() bool {
		if s.home(nil) == leader {
			return true
		}
		must(s.t, leader.TakeLead(s.t.Context(), s.queue))
		return false
	})
	frozen(s, leader)
}

func frozen(s *stage, leader *chaos.Node) {
	s.play(func() {
		must(s.t, leader.Pause())
		s.missed(leader)
		s.more()
		must(s.t, leader.Resume())
		s.restore()
	})
}

func leaderCutOff(s *stage) {
	time.Sleep(time.Second)
	leader := s.home(nil)
	s.play(func() {
		f, err := s.CutOff(leader)
		must(s.t, err)
		s.missed(leader)
		s.more()
		bitten(s.t, f)
		s.restore()
	})
}

// A node that lost the client's for a moment does not know its reply queue any more, and drops the replies of the servers that are with
// it.
func replyQueueForgotten(s *stage) {
	home := s.at()
	forgetful := s.Others(home)[0]
	c := clusterConn(s.t, strings.Join(s.URLs(), ","))
	for tries := 0; s.of(c) != forgetful; tries++ {
		if tries == 50 {
			s.t.Fatal("no connection got to the node")
		}
		c = clusterConn(s.t, strings.Join(s.URLs(), ","))
	}
	s.serve(c)
	s.play(func() {
		n, err := forgetful.Forget(s.t.Context(), home)
		must(s.t, err)
		if n == 0 {
			s.t.Fatal("no queue was forgotten: the test shows nothing")
		}
		s.more()
	})
	if resent := s.client.Stats().Resent; resent > 0 {
		s.t.Errorf("%d calls were sent again, want their replies to go another way", resent)
	}
}

func bitten(t *testing.T, f *chaos.Filter) {
	t.Helper()
	if n, err := f.Dropped(); n == 0 || err != nil {
		t.Errorf("%v: dropped %d packets (%v): the test shows nothing", f, n, err)
	}
}

// What a client of a node in a minority is told is true, and in time. It moves to another node if it knows one; else it goes on
// when the cluster is whole.
func clientInMinority(s *stage) {
	time.Sleep(time.Second)
	victim := s.at()
	lonely := newClient(s.t, clusterConn(s.t, victim.URL()))
	if _, err := client.Call(s.t.Context(), lonely, s.method, 1); err != nil {
		s.t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	codes, executed := make(map[rpc.Code]int), make(map[int]rpc.Execution)
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	const timeout = 2 * time.Second
	s.play(func() {
		f, err := s.CutOff(victim)
		must(s.t, err)
		for i := range 8 {
			wg.Go(func() {
				for n := 1_000_000 + i; ctx.Err() == nil; n += 8 {
					start := time.Now()
					_, err := client.Call(s.t.Context(), lonely, s.method, n, client.WithTimeout(timeout))
					if d := time.Since(start); d > timeout+lateness {
						s.t.Errorf("call %d took %v, want %v at most", n, d, timeout)
					}
					mu.Lock()
					codes[rpc.CodeOf(err)]++
					if executed[n] = rpc.Executed(err); err == nil {
						executed[n] = rpc.ExecutedYes
					}
					mu.Unlock()
					if err != nil {
						time.Sleep(clusterWork) // what fails at once would fail ten thousand times
					}
				}
			})
		}
		s.missed(victim)
		s.more()
		bitten(s.t, f)
		if s.at() == victim {
			s.t.Error("the client that knows all nodes is still in the minority")
		}
		s.restore()
		back := time.Now()
		for {
			if _, err := client.Call(s.t.Context(), lonely, s.method, 1, client.WithTimeout(timeout)); err == nil {
				break
			} else if time.Since(back) > clusterDeadline {
				s.t.Fatalf("the client that knows one node is not back: %v", err)
			}
			time.Sleep(clusterWork)
		}
		s.t.Logf("the client that knows one node is back %v after the cluster was whole", time.Since(back))
		stop()
		wg.Wait()
	})
	s.t.Logf("the client that knows one node got %v", codes)
	for n, x := range executed {
		switch {
		case x == rpc.ExecutedNo && s.ran.has(n):
			s.t.Errorf("call %d: executed no, but it was", n)
		case x == rpc.ExecutedYes && !s.ran.has(n):
			s.t.Errorf("call %d: executed yes, but it was not", n)
		}
	}
}

// at returns the node that the client is connected with, or nil.
func (s *stage) at() *chaos.Node { return s.of(s.conn) }

func (s *stage) of(c *conn.Manager) *chaos.Node {
	s.t.Helper()
	if _, err := c.Session(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	for _, n := range s.Nodes() {
		if u, err := url.Parse(n.URL()); err == nil && strings.Contains(c.State().Addr, u.Host) {
			return n
		}
	}
	return nil
}

// A classic queue is on one node. While that is down nobody is served, and calls that wait for servers do.
func classicHomeDown(s *stage) {
	home := s.home(nil)
	s.play(func() {
		must(s.t, home.Kill())
		ask(s.t, "the others to miss it", func() bool {
			seen, err := s.Sees(s.t.Context(), s.Others(home)[0])
			return err == nil && len(seen) == 1
		})
		s.restore()
	}, client.WaitForServer())
}

// Not one call that waits for servers fails while an operator restarts one node after the other. All servers may be with the
// node that is drained, and the client with another: then nobody serves until they have dialled again.
func rollingRestart(s *stage) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	s.play(func() { must(s.t, s.RollingRestart(ctx)) }, client.WaitForServer())
}

func majorityLost(s *stage) {
	time.Sleep(time.Second)
	nodes := s.Nodes()
	s.play(func() {
		must(s.t, nodes[0].Kill())
		must(s.t, nodes[1].Kill())
		start := time.Now()
		ask(s.t, "the last node to notice", func() bool {
			seen, err := s.Sees(s.t.Context(), nodes[2])
			return err == nil && len(seen) == 0
		})
		s.t.Logf("noticed after %v", time.Since(start))
		s.restore()
	})
}

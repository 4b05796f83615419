package endtoend

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// What servers can do in these tests: few calls at a time, each in work.
const (
	few  = 4
	work = 40 * time.Millisecond
)

// shared makes a handler that shares something with others of its kind which does well with few at a time: beyond that the
// more of them there are, the less gets done.
func shared() func(context.Context, int) (int, error) {
	var running atomic.Int64
	return func(_ context.Context, n int) (int, error) {
		crowd := max(1, float64(running.Add(1))/few)
		defer running.Add(-1)
		time.Sleep(time.Duration(float64(work) * crowd * (1 + (crowd-1)/2)))
		return 2 * n, nil
	}
}

// capacity is how many calls a second few callers get answered, on this machine.
func capacity(t *testing.T, c *client.Client, m rpc.Method[int, int]) float64 {
	t.Helper()
	const measured = time.Second
	var wg sync.WaitGroup
	var n atomic.Int64
	start := time.Now()
	for range few {
		wg.Go(func() {
			for time.Since(start) < measured {
				if _, err := client.Call(t.Context(), c, m, 1); err == nil {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}

// load makes perSecond calls each second for d, and returns the share that was answered.
func load(t *testing.T, c *client.Client, m rpc.Method[int, int], perSecond float64, d time.Duration) float64 {
	t.Helper()
	var wg sync.WaitGroup
	var ok atomic.Int64
	offered := 0
	start := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ; time.Since(start) < d; <-tick.C {
		for ; float64(offered) < time.Since(start).Seconds()*perSecond; offered++ {
			wg.Go(func() {
				if _, err := client.Call(t.Context(), c, m, 1); err == nil {
					ok.Add(1)
				}
			})
		}
	}
	wg.Wait()
	return float64(ok.Load()) / float64(offered)
}

// Five times as much as the servers can do, and three times the workers that are good for them: the limit finds out, and what
// they can do is done in time.
func TestOverloadProtection(t *testing.T) {
	url := testbroker.URL(t)
	ms := open(t, url)
	method := service(t, ms)
	s, _ := serve(t, ms, method, shared(), server.WithWorkers(3*few), server.WithAdaptiveLimit(1), server.WithMaxQueue(4*few))
	c := newClient(t, open(t, url), client.WithTimeout(time.Second))
	can := capacity(t, c, method)
	wait(t, "the server to find its limit", func() bool {
		load(t, c, method, 5*can, time.Second)
		return s.Stats().Limit <= 2*few
	})
	for range 3 { // what can be done depends on what else this machine does
		answered := load(t, c, method, 5*can, 3*time.Second) * 5 * can
		can = min(can, capacity(t, c, method))
		t.Logf("%.0f of %.0f calls a second were answered; limit %d, %d refused", answered, can, s.Stats().Limit, s.Stats().Refused)
		if answered >= 0.8*can {
			return
		}
	}
	t.Error("fewer calls were answered than 80% of what can be done, three times")
}

// One tenant asks for five times as much as the servers can do, and another one does not feel it.
func TestGreedyTenant(t *testing.T) {
	url := testbroker.URL(t)
	ms := open(t, url)
	method := service(t, ms)
	s, _ := serve(t, ms, method, func(_ context.Context, n int) (int, error) {
		time.Sleep(work)
		return 2 * n, nil
	}, server.WithWorkers(2*few), server.WithTenantLimit(few))
	greedy := newClient(t, open(t, url), client.WithName("greedy"), client.WithTimeout(time.Second))
	modest := newClient(t, open(t, url), client.WithName("modest"), client.WithTimeout(time.Second))
	can := capacity(t, greedy, method)
	var wg sync.WaitGroup
	var all float64
	wg.Go(func() { all = 5 * load(t, greedy, method, 5*can, 3*time.Second) })
	got := load(t, modest, method, can/5, 3*time.Second)
	wg.Wait()
	t.Logf("the modest one got %.0f%% of what it asked for, the greedy one %.0f%% of what it may have; %d refused",
		100*got, 100*all, s.Stats().Refused)
	if got < 0.8 || all < 0.8 { // without a limit it is a fifth
		t.Errorf("the modest one got %.0f%%, the greedy one %.0f%%, want 80%% at least", 100*got, 100*all)
	}
	if s.Stats().Refused == 0 {
		t.Error("none refused: the test shows nothing")
	}
}

// However a request is published, its caller learns at once that the queue is full.
func TestFullQueue(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []server.Option
		call []client.CallOption
		back int // the call whose request comes back
	}{
		{"classic queue", nil, nil, 3},
		{"classic queue, durable", nil, []client.CallOption{client.Durable()}, 3},
		{"quorum queue", []server.Option{server.WithQuorumQueue(5)}, nil, 2},
		{"quorum queue, durable", []server.Option{server.WithQuorumQueue(5)}, []client.CallOption{client.Durable()}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := testbroker.URL(t)
			m := open(t, url)
			method := service(t, m)
			started, release := make(chan int, 3), make(chan struct{})
			serve(t, m, method, func(ctx context.Context, n int) (int, error) {
				if n > 0 {
					started <- n
					<-release
				}
				return 2 * n, nil
			}, append(tt.opts, server.WithWorkers(1), server.WithMaxQueue(1))...)
			c := newClient(t, open(t, url))
			_, err := client.Call(t.Context(), c, method, 0)
			must(t, err)
			type result struct {
				n   int
				err error
			}
			results := make(chan result, 3)
			publish := func(n int, opts ...client.CallOption) {
				go func() {
					got, err := client.Call(t.Context(), c, method, n, append(opts, client.WithoutRetry())...)
					if err == nil && got != 2*n {
						t.Errorf("got %d, want %d", got, 2*n)
					}
					results <- result{n, err}
				}()
			}
			publish(1)
			<-started
			publish(2, client.Durable()) // straight into the queue
			wait(t, "the queue to be full", func() bool { return messages(t, m, wire.Queue(method.Service)) == 1 })
			publish(3, tt.call...)
			r := <-results
			if r.n != tt.back || rpc.CodeOf(r.err) != rpc.ResourceExhausted || rpc.Executed(r.err) == rpc.ExecutedYes || !errors.Is(r.err, rpc.ErrNoAnswer) {
				t.Errorf("call %d: got %v, executed %v, want resource_exhausted for call %d", r.n, r.err, rpc.Executed(r.err), tt.back)
			}
			close(release)
			for range 2 {
				must(t, (<-results).err)
			}
		})
	}
}

// A queue keeps the bound that it was made with.
func TestMaxQueueOfExisting(t *testing.T) {
	m := open(t, testbroker.URL(t))
	method := service(t, m)
	_, stop := serve(t, m, method, double)
	stop()
	s, err := server.New(m, method.Service, server.WithLogger(quiet), server.WithMaxQueue(10))
	must(t, err)
	server.Handle(s, method, double)
	if err := s.Run(t.Context()); !errors.Is(err, conn.ErrPrecondition) {
		t.Errorf("got %v, want it to say that the queue has other arguments", err)
	}
}

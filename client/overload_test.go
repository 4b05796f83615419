package client_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// What servers can do in these tests: few calls at a time, each in work.
const (
	few      = 8
	work     = 20 * time.Millisecond
	capacity = few * int(time.Second/work) // calls a second
)

// shared makes a handler that shares something with others of its kind, such as a database, which does well with few at a
// time: beyond that all take longer, and the more of them there are, the less gets done.
func shared() func(context.Context, int) (int, error) {
	var running atomic.Int64
	return func(_ context.Context, n int) (int, error) {
		crowd := max(1, float64(running.Add(1))/few)
		defer running.Add(-1)
		time.Sleep(time.Duration(float64(work) * crowd * (1 + (crowd-1)/10)))
		return 2 * n, nil
	}
}

// A load is what callers ask for, and what they get.
type load struct{ calls, attempts, ok atomic.Int64 }

// hook lets the load count.
func (l *load) hook() client.Option {
	return client.WithHooks(client.Hooks{CallEnded: func(_ context.Context, e client.CallEnded) {
		l.calls.Add(1)
		l.attempts.Add(int64(e.Attempts))
		if e.Err == nil {
			l.ok.Add(1)
		}
	}})
}

// run makes perSecond calls in each of ten seconds, and waits for their end.
func (l *load) run(ctx context.Context, c *client.Client, perSecond int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 10 * perSecond {
		wg.Go(func() { client.Call(ctx, c, double, 1) })
		time.Sleep(time.Second / time.Duration(perSecond))
	}
}

// goodput is the share of what could be answered that was.
func (l *load) goodput(perSecond int) float64 { return float64(l.ok.Load()) / float64(10*perSecond) }

func (l *load) amplification() float64 { return float64(l.attempts.Load()) / float64(l.calls.Load()) }

// Five times as much as the servers can do: what they can do is still done in time, and the client does not add to it.
func TestOverload(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		handler func(context.Context, int) (int, error)
		opts    []server.Option
		retries float64 // for each call
		look    error   // that the broker answers
	}{
		{"patient", time.Second, slow(work), []server.Option{server.WithWorkers(few)}, 0.1, nil},
		{"patient, may not look", time.Second, slow(work), []server.Option{server.WithWorkers(few)}, 0.1, conn.ErrRefused},
		{"impatient", 100 * time.Millisecond, slow(work), []server.Option{server.WithWorkers(few)}, 0.1, nil},
		{"short queue, patient", time.Second, slow(work), []server.Option{server.WithWorkers(few), server.WithMaxQueue(2 * few)}, 0.15, nil},
		{"short queue, impatient", 100 * time.Millisecond, slow(work), []server.Option{server.WithWorkers(few), server.WithMaxQueue(2 * few)}, 0.15, nil},
		{"short quorum queue", time.Second, slow(work), []server.Option{server.WithWorkers(few), server.WithMaxQueue(2 * few), server.WithQuorumQueue(5)}, 0.15, nil},
		{"adaptive limit", 200 * time.Millisecond, shared(), []server.Option{server.WithWorkers(4 * few), server.WithAdaptiveLimit(1)}, 0.15, nil},
		{"adaptive limit without need", time.Second, slow(work), []server.Option{server.WithWorkers(few), server.WithAdaptiveLimit(1)}, 0.15, nil},
		{"adaptive limit and short queue", time.Second, shared(), []server.Option{server.WithWorkers(4 * few), server.WithAdaptiveLimit(1), server.WithMaxQueue(2 * few)}, 0.15, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && (strings.HasPrefix(tt.name, "short") || strings.HasSuffix(tt.name, "need")) {
				t.Skip("takes seconds; the last case has both limits")
			}
			var l load
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c conn.Connector) conn.Connector { return &hooked{Connector: c, lookErr: tt.look} },
					client.WithTimeout(tt.timeout), l.hook())
				r.serve(r.broker.Connector("server"), tt.handler, tt.opts...)
				r.mustCall(0)
				l.run(t.Context(), r.client, 5*capacity)
			})
			goodput, amplification := l.goodput(capacity), l.amplification()
			t.Logf("goodput %.0f%%, %.2f attempts for each call", 100*goodput, amplification)
			if goodput < 0.8 || amplification > 1+tt.retries {
				t.Errorf("goodput %.0f%%, %.2f attempts for each call, want at least 80%% and at most %.2f", 100*goodput, amplification, 1+tt.retries)
			}
		})
	}
}

// One tenant asks for five times as much as the servers can do. The other, who asks for little, is served as if it were
// alone; without the limit it fares as badly as the first.
func TestGreedyTenant(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []server.Option
		low  float64 // of what the modest one asks for
		high float64
	}{
		{"with a limit", []server.Option{server.WithTenantLimit(few * 3 / 4)}, 0.99, 1},
		{"without one", nil, 0, 0.8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var greedy, modest load
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, client.WithName("greedy"), client.WithTimeout(200*time.Millisecond), greedy.hook())
				r.serve(r.broker.Connector("server"), slow(work), append(tt.opts, server.WithWorkers(few))...)
				c, err := client.New(r.broker.Connector("modest"), client.WithName("modest"), client.WithTimeout(200*time.Millisecond),
					client.WithoutBreaker(), modest.hook())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close(context.Background())
				var wg sync.WaitGroup
				wg.Go(func() { greedy.run(t.Context(), r.client, 5*capacity) })
				modest.run(t.Context(), c, capacity/8)
				wg.Wait()
			})
			got, all := modest.goodput(capacity/8), greedy.goodput(capacity)+modest.goodput(capacity)
			t.Logf("the modest one got %.0f%%, all %.0f%% of what could be done", 100*got, 100*all)
			if got < tt.low || got > tt.high {
				t.Errorf("the modest one got %.0f%%, want %.0f to %.0f%%", 100*got, 100*tt.low, 100*tt.high)
			}
			if all < 0.8 {
				t.Errorf("all got %.0f%% of what could be done, want at least 80%%", 100*all)
			}
		})
	}
}

// A request that finds the queue full is sent again a little later, unless it is not to be.
func TestFullQueue(t *testing.T) {
	for _, tt := range []struct {
		name     string
		conn     []conntest.Option
		opts     []client.CallOption
		attempts string
		code     rpc.Code
	}{
		{"retried", nil, nil, "direct full, queued replied, ", rpc.OK},
		{"not retried", nil, []client.CallOption{client.WithoutRetry()}, "direct full, ", rpc.ResourceExhausted},
		{"at most once", nil, []client.CallOption{client.AtMostOnce()}, "queued full, ", rpc.ResourceExhausted},
		{"may not look", []conntest.Option{conntest.WithoutInspect()}, []client.CallOption{client.WithoutRetry()}, "direct full, ", rpc.ResourceExhausted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var log journal
				r.serve(r.broker.Connector("server"), log.count(slow(time.Second)), server.WithWorkers(1), server.WithMaxQueue(1))
				r.mustCall(0)
				attempts := ""
				late, err := client.New(r.broker.Connector("late", tt.conn...), client.WithHooks(client.Hooks{
					AttemptEnded: func(_ context.Context, a client.AttemptEnded) { attempts += a.Mode + " " + a.Ending + ", " },
				}))
				if err != nil {
					t.Fatal(err)
				}
				defer late.Close(context.Background())
				var wg sync.WaitGroup
				for n := range 2 { // one for the worker, one for the queue
					wg.Go(func() { r.mustCall(n) })
				}
				for range 500 { // the second may have to come again
					time.Sleep(time.Millisecond)
					if slices.ContainsFunc(r.broker.Queues(), func(q conntest.QueueState) bool { return q.Ready == 1 }) {
						break
					}
				}
				_, err = client.Call(t.Context(), late, double, 1, tt.opts...)
				if tt.code == rpc.OK && strings.HasPrefix(attempts, "direct full, ") && strings.HasSuffix(attempts, " replied, ") {
					attempts = tt.attempts // with as many in between as it takes
				}
				if rpc.CodeOf(err) != tt.code || attempts != tt.attempts || late.Stats().Bounced < 1 {
					t.Errorf("got %v after %s%d came back, want %v after %s1", err, attempts, late.Stats().Bounced, tt.code, tt.attempts)
				}
				wg.Wait()
			})
		})
	}
}

package client_test

import (
	"context"
	"errors"
	"fmt"
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

// An outage opens the breaker: calls then fail at once, with the reason. It closes on the first look that finds a server.
func TestBreaker(t *testing.T) {
	var mu sync.Mutex
	var changes []string
	hooks := client.WithHooks(client.Hooks{Breaker: func(queue, from, to string) {
		mu.Lock()
		defer mu.Unlock()
		changes = append(changes, from+" to "+to)
	}})
	inBubble(t, func(t *testing.T, r *rig) {
		r.broker.Stop()
		start := time.Now()
		for range 20 {
			_, err := r.call(t.Context(), 1)
			check(t, err, rpc.Unavailable, rpc.ExecutedNo, conn.ErrNotConnected)
		}
		took(t, start, 20*time.Second)
		start = time.Now()
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrBreakerOpen)
		if got := fmt.Sprint(r.client.Services()); got != "[{rabbitrpc.math unknown open}]" {
			t.Errorf("got services %s", got)
		}
		if !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("got %v, want one that tells why the breaker is open", err)
		}
		var e *rpc.Error
		if errors.As(err, &e); e.RetryAfter <= 0 || e.RetryAfter > 100*time.Millisecond {
			t.Errorf("next probe in %v, want up to 100ms", e.RetryAfter)
		}
		took(t, start, 0)

		time.Sleep(150 * time.Millisecond) // a probe is due: it finds no broker, and does not wait for one
		start = time.Now()
		_, err = r.call(t.Context(), 1)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrBreakerOpen)
		took(t, start, 0)

		r.broker.Start()
		r.serve(r.broker.Connector("server"), twice)
		time.Sleep(150 * time.Millisecond)
		start = time.Now()
		r.mustCall(2)
		took(t, start, 0)
		mu.Lock()
		defer mu.Unlock()
		want := []string{"closed to open", "open to half-open", "half-open to open", "open to half-open", "half-open to closed"}
		if !slices.Equal(changes, want) {
			t.Errorf("got %q, want %q", changes, want)
		}
	}, hooks, client.WithTimeout(time.Second))
}

// What a server says, and what a caller does, is no reason to keep calls from it.
func TestBreakerStaysClosed(t *testing.T) {
	for name, one := range map[string]func(r *rig) error{
		"server's errors": func(r *rig) error { _, err := r.call(context.Background(), -1); return err },
		"canceled calls": func(r *rig) error {
			ctx, cancel := context.WithTimeoutCause(context.Background(), time.Hour, nil)
			time.AfterFunc(time.Millisecond, cancel)
			_, err := r.call(ctx, 1)
			return err
		},
		"bad requests": func(r *rig) error {
			_, err := r.client.Do(context.Background(), &rpc.Request{Service: "math", Method: "*"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.serve(r.broker.Connector("server"), func(ctx context.Context, n int) (int, error) {
					switch n {
					case -1:
						return 0, rpc.Errorf(rpc.Unavailable, "so I say")
					case 1:
						<-ctx.Done()
					}
					return 2 * n, nil
				}, server.WithWorkers(64), server.WithDrain(time.Hour))
				for range 50 {
					if one(r) == nil {
						t.Fatal("no error")
					}
				}
				r.mustCall(2)
			}, client.WithoutRetry())
		})
	}
}

// Calls that give servers less than they need do not keep all others from them.
func TestBreakerOfHastyCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), slow(200*time.Millisecond), server.WithWorkers(100))
		for range 20 {
			r.mustCall(2)
		}
		for range 50 {
			_, err := r.call(t.Context(), 2, client.WithTimeout(100*time.Millisecond))
			check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		}
		r.mustCall(2)
	})
}

// Nor do those that give them enough stop to count since others do not.
func TestBreakerOfHungServers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var hung atomic.Bool
		r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
			if hung.Load() {
				time.Sleep(5 * time.Second)
			}
			time.Sleep(10 * time.Millisecond)
			return 2 * n, nil
		}, server.WithWorkers(100))
		for range 20 {
			r.mustCall(2)
		}
		hung.Store(true)
		for range 20 {
			for _, timeout := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond} {
				_, err := r.call(t.Context(), 2, client.WithTimeout(timeout))
				check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
			}
		}
		_, err := r.call(t.Context(), 2)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrBreakerOpen)
	})
}

func TestWithoutBreaker(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for range 50 {
			_, err := r.call(t.Context(), 1)
			check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
			if errors.Is(err, client.ErrBreakerOpen) {
				t.Fatal("there is a breaker")
			}
		}
	}, client.WithoutBreaker())
}

// A server that comes back is found within the 200ms that callers are promised, even behind an open breaker.
func TestServerComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for range 100 {
			_, err := r.call(t.Context(), 1)
			check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		}
		r.serve(r.broker.Connector("server"), twice)
		start := time.Now()
		for {
			if _, err := r.call(t.Context(), 1); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// The limit holds, and those above it wait or fail as they chose.
func TestCallsInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		running, most := 0, 0
		r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return 2 * n, nil
		})
		var calls sync.WaitGroup
		for n := range 6 {
			calls.Go(func() { r.mustCall(n) })
		}
		synctest.Wait()
		start := time.Now()
		_, err := client.Call(t.Context(), r.client, double, 9, client.FailFast())
		check(t, err, rpc.ResourceExhausted, rpc.ExecutedNo, client.ErrTooManyCalls)
		took(t, start, 0)
		_, err = client.Call(t.Context(), r.client, double, 9, client.WithTimeout(time.Millisecond))
		check(t, err, rpc.ResourceExhausted, rpc.ExecutedNo, client.ErrTooManyCalls)
		calls.Wait()
		if most != 2 {
			t.Errorf("%d calls were in flight, want 2", most)
		}
	}, client.WithMaxInFlight(2))
}

// Retries follow the server's wishes, stay within the budget, and leave alone what cannot get better.
func TestRetry(t *testing.T) {
	type said struct {
		err  *rpc.Error
		runs int // of the handler, until it answers
	}
	no := func(code rpc.Code) *rpc.Error { return rpc.Errorf(code, "no").WithExecuted(rpc.ExecutedNo) }
	for _, tt := range []struct {
		name string
		said said
		opts []client.CallOption
		want int // runs
		code rpc.Code
	}{
		{"gets better", said{no(rpc.ResourceExhausted), 2}, nil, 3, rpc.OK},
		{"switched off", said{no(rpc.ResourceExhausted), 2}, []client.CallOption{client.WithoutRetry()}, 1, rpc.ResourceExhausted},
		{"at most once, not executed", said{no(rpc.Aborted), 1}, []client.CallOption{client.AtMostOnce()}, 2, rpc.OK},
		{"executed", said{rpc.Errorf(rpc.Aborted, "no"), 1}, nil, 1, rpc.Aborted},
		{"code that stays", said{no(rpc.InvalidArgument), 1}, nil, 1, rpc.InvalidArgument},
		{"no time for another", said{no(rpc.Unavailable).WithRetryAfter(time.Hour), 1}, nil, 1, rpc.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				runs := 0
				r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
					if runs++; runs <= tt.said.runs {
						return 0, tt.said.err
					}
					return 2 * n, nil
				})
				start := time.Now()
				_, err := client.Call(t.Context(), r.client, double, 1, tt.opts...)
				if rpc.CodeOf(err) != tt.code || runs != tt.want {
					t.Errorf("got %v after %d runs, want %v after %d", err, runs, tt.code, tt.want)
				}
				if tt.said.err.RetryAfter > 0 {
					took(t, start, 0)
				}
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		runs := 0
		r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
			if runs++; runs == 1 {
				return 0, rpc.Errorf(rpc.ResourceExhausted, "later").WithExecuted(rpc.ExecutedNo).WithRetryAfter(3 * time.Second)
			}
			return 2 * n, nil
		})
		start := time.Now()
		r.mustCall(1)
		took(t, start, 3*time.Second)
	})
}

// An outage is not amplified: a server that refuses everything gets hardly more than its calls.
func TestRetryBudget(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs atomic.Int64
		r.serve(r.broker.Connector("server"), func(context.Context, int) (int, error) {
			runs.Add(1)
			return 0, rpc.Errorf(rpc.ResourceExhausted, "no").WithExecuted(rpc.ExecutedNo)
		})
		const calls = 2000
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				if _, err := client.Call(t.Context(), r.client, double, 1); rpc.CodeOf(err) != rpc.ResourceExhausted {
					t.Errorf("got %v, want resource_exhausted", err)
				}
			})
		}
		all.Wait()
		const limit = calls + calls/10 + 50 + 10*5 // a tenth, the burst, and a few a second for the 10s that a call may take
		if n := runs.Load(); n <= calls || n > limit {
			t.Errorf("%d attempts for %d calls, want more than those, and at most %d", n, calls, limit)
		}
	})
}

func TestCallOptions(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		var got []*rpc.Request
		r.echo(func(req *rpc.Request) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, req)
		})
		m := rpc.Method[string, string]{Service: "echo", Name: "echo", Timeout: time.Second}
		if _, err := client.Call(t.Context(), r.client, m, "x", client.WithCallID("7"), client.WithHeader("a", "1"), client.WithHeader("b", "2")); err != nil {
			t.Fatal(err)
		}
		ctx := client.With(t.Context(), client.WithHeader("a", "1"))
		ctx = client.With(ctx, client.WithHeader("c", "3"))
		if _, err := r.client.Do(ctx, &rpc.Request{Service: "echo", Method: "echo", Body: []byte(`"x"`), Header: rpc.Header{"a": "0"}}); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 {
			t.Fatalf("got %d requests, want 2", len(got))
		}
		if got[0].ID != "7" || fmt.Sprint(got[0].Header) != "map[a:1 b:2]" {
			t.Errorf("got call %s with %v, want 7 with a and b", got[0].ID, got[0].Header)
		}
		if got[1].ID == "" || fmt.Sprint(got[1].Header) != "map[a:1 c:3]" {
			t.Errorf("got call %s with %v, want any with a and c", got[1].ID, got[1].Header)
		}
		start := time.Now()
		_, err := client.Call(t.Context(), r.client, m, "sleep")
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		took(t, start, time.Second)
		start = time.Now()
		_, err = client.Call(t.Context(), r.client, m, "sleep", client.WithTimeout(2*time.Second))
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		took(t, start, 2*time.Second)
	})
}

// Who is to wait while nobody serves is not told that nobody did so a moment ago.
func TestBreakerLetsThroughWhoWaits(t *testing.T) {
	for name, opt := range map[string]client.CallOption{"wait for server": client.WaitForServer(), "durable": client.Durable()} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				_, stop := r.serve(r.broker.Connector("server"), twice)
				stop()
				r.trip()
				served := make(chan struct{})
				time.AfterFunc(time.Second, func() { defer close(served); r.serve(r.broker.Connector("server"), twice) })
				if got, err := client.Call(t.Context(), r.client, double, 2, opt); got != 4 || err != nil {
					t.Errorf("got %d, %v, want 4", got, err)
				}
				<-served // or the end of the test would not know of the server
			})
		})
	}
}

// trip opens the breaker.
func (r *rig) trip() {
	r.t.Helper()
	for range 20 {
		r.call(r.t.Context(), 1)
	}
	_, err := r.call(r.t.Context(), 1)
	check(r.t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrBreakerOpen)
}

// A caller that gives up during a probe says nothing of the service.
func TestProbeCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slowly := false
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, inspect: func() {
				if slowly {
					time.Sleep(10 * time.Millisecond)
				}
			}}
		})
		r.trip()
		r.serve(r.broker.Connector("server"), twice)
		time.Sleep(150 * time.Millisecond)
		slowly = true
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Millisecond, cancel)
		_, err := r.call(ctx, 1)
		check(t, err, rpc.Canceled, rpc.ExecutedNo)
		r.mustCall(2)
	})
}

// A hook may look at what it is told of, and at all else that the client tells without a call.
func TestBreakerHookLooks(t *testing.T) {
	var c *client.Client
	states := make(chan string, 10)
	b := conntest.NewBroker()
	defer b.Close()
	c, err := client.New(b.Connector("client"), client.WithHooks(client.Hooks{Breaker: func(_, _, to string) {
		states <- fmt.Sprint(to, " is ", c.Services()[0].Breaker, " after ", c.Stats().Calls)
	}}))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 20 {
			client.Call(t.Context(), c, double, 1)
		}
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("a hook that looks at the services never returns")
	}
	if got, want := <-states, "open is open after 20"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A hook that panics, for a caller that recovers, does not keep the breaker half-open for ever.
func TestProbePanics(t *testing.T) {
	panics := false
	inBubble(t, func(t *testing.T, r *rig) {
		r.trip()
		r.conn.Lose()
		r.serve(r.broker.Connector("server"), twice)
		time.Sleep(150 * time.Millisecond)
		panics = true
		func() {
			defer func() { recover() }()
			r.call(t.Context(), 1)
		}()
		panics = false
		time.Sleep(time.Second)
		r.mustCall(2)
	}, client.WithHooks(client.Hooks{Session: func(error) {
		if panics {
			panic("hook")
		}
	}}))
}

// A hook that panics when a look has shown something does so in the call that looked, for a caller that recovers.
func TestLookPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), twice)
		func() {
			defer func() {
				if p := recover(); !strings.Contains(fmt.Sprint(p), "hook") {
					t.Errorf("got %v, want the panic of the hook", p)
				}
			}()
			r.call(t.Context(), 1)
		}()
		r.mustCall(2)
	}, client.WithHooks(client.Hooks{Presence: func(string, string) { panic("hook") }}))
}

// Calls that are refused for what they say take no room from what is known of services.
func TestBadServicesAreNotRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.trip()
		for n := range 2000 {
			r.client.Do(t.Context(), &rpc.Request{Service: fmt.Sprint("no.", n), Method: "m"})
		}
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrBreakerOpen)
	})
}

package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A call that may be executed once only is not sent again, whatever happens to it once it may have arrived.
func TestAtMostOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		hit  func(r *rig, server *conntest.Connector)
		runs int
	}{
		{"session lost after publish", func(r *rig, _ *conntest.Connector) { r.conn.Fail(conntest.LoseAfterPublish(1)) }, 1},
		{"session lost on the way", func(r *rig, _ *conntest.Connector) { r.conn.Fail(conntest.LoseBeforePublish(1)) }, 0},
		{"publish failed", func(r *rig, _ *conntest.Connector) { r.conn.Fail(conntest.FailPublish(1)) }, 1},
		{"server dies in the middle", func(r *rig, s *conntest.Connector) { time.AfterFunc(time.Second, s.Lose) }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var log journal
				s := r.broker.Connector("server")
				r.serve(s, log.count(slow(2*time.Second)), server.WithStore(nil))
				r.mustCall(0)
				tt.hit(r, s)
				start := time.Now()
				_, err := client.Call(t.Context(), r.client, double, 1, client.AtMostOnce())
				check(t, err, rpc.Unavailable, rpc.ExecutedUnknown)
				if d := time.Since(start); d > time.Second {
					t.Errorf("it took %v to fail", d)
				}
				time.Sleep(10 * time.Second)
				if n := log.ran() - 1; n != tt.runs {
					t.Errorf("the handler ran %d times, want %d", n, tt.runs)
				}
			})
		})
	}
}

// Servers that are busy are no reason for such a call to end: it waits until one has room.
func TestAtMostOnceWaitsForRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var log journal
		r.serve(r.broker.Connector("server"), log.count(slow(100*time.Millisecond)), server.WithWorkers(1))
		for round := range 3 {
			var calls sync.WaitGroup
			for n := range 20 {
				calls.Go(func() { r.mustCall(n, client.AtMostOnce()) })
			}
			calls.Wait()
			if ran := log.ran(); ran != 20*(round+1) {
				t.Errorf("the handler ran %d times, want %d", ran, 20*(round+1))
			}
			time.Sleep(time.Second)
		}
		if s := r.client.Stats(); s.Bounced > 0 || s.Resent > 0 {
			t.Errorf("got %+v, want that no request came back", s)
		}
	})
}

// That nobody is there such a call does not find out by waiting.
func TestAtMostOnceWithoutServer(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		_, stop := r.serve(r.broker.Connector("server"), twice)
		r.mustCall(1, client.AtMostOnce())
		stop()
		time.Sleep(200 * time.Millisecond)
		start := time.Now()
		_, err := r.call(t.Context(), 1, client.AtMostOnce())
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// What one look has shown, or one answer, is good for all such calls that come soon after it.
func TestAtMostOnceLooksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		r := newRig(t, func(c conn.Connector) conn.Connector { return &hooked{Connector: c, inspect: func() { looks++ }} })
		r.serve(r.broker.Connector("server"), slow(time.Second))
		var calls sync.WaitGroup
		for n := range 100 {
			calls.Go(func() { r.mustCall(n, client.AtMostOnce()) })
			time.Sleep(time.Millisecond)
		}
		calls.Wait()
		if looks != 2 {
			t.Errorf("%d looks in 100ms, want 2", looks)
		}
		time.Sleep(time.Second)
		r.mustCall(1)
		r.mustCall(2, client.AtMostOnce())
		if looks != 2 {
			t.Errorf("%d looks after a direct answer, want no more", looks)
		}
	})
}

// A durable call waits for servers in the queue, whoever is there: to look for them before each would be of no use.
func TestAtMostOnceDurableDoesNotLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		r := newRig(t, func(c conn.Connector) conn.Connector { return &hooked{Connector: c, inspect: func() { looks++ }} })
		r.serve(r.broker.Connector("server"), twice)
		for n := range 3 {
			r.mustCall(n, client.AtMostOnce(), client.Durable())
			time.Sleep(time.Second)
		}
		if looks != 1 {
			t.Errorf("%d looks, want one, for the first call", looks)
		}
	})
}

// A request that may be executed once only is refused when the broker delivers it again, to another server with room.
func TestAtMostOnceRedelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var log journal
		first, second := r.broker.Connector("first"), r.broker.Connector("second")
		r.serve(first, log.count(slow(time.Minute)), server.WithDrain(time.Hour))
		r.mustCall(0)
		r.serve(second, log.count(slow(time.Minute)), server.WithDrain(time.Hour))
		before := log.ran()
		time.AfterFunc(time.Second, first.Lose)
		_, err := client.Call(t.Context(), r.client, double, 1, client.AtMostOnce(), client.Durable())
		check(t, err, rpc.Unavailable, rpc.ExecutedUnknown)
		synctest.Wait()
		if n := log.ran() - before; n != 1 {
			t.Errorf("the handler ran %d times, want once", n)
		}
	}, client.WithTimeout(5*time.Minute))
}

// A durable call is there when its server comes, even if its caller is gone by then.
func TestDurable(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var log journal
		_, stop := r.serve(r.broker.Connector("server"), log.count(twice))
		r.mustCall(0)
		stop()
		time.Sleep(time.Second)

		var calls sync.WaitGroup
		calls.Go(func() {
			got, err := client.Call(t.Context(), r.client, double, 4, client.Durable(), client.WithTimeout(time.Minute))
			if got != 8 || err != nil {
				t.Errorf("got %d, %v, want 8", got, err)
			}
		})
		gone, err := client.New(r.broker.Connector("gone"))
		if err != nil {
			t.Fatal(err)
		}
		calls.Go(func() {
			_, err := client.Call(t.Context(), gone, double, 5, client.Durable(), client.WithTimeout(time.Minute))
			check(t, err, rpc.Canceled, rpc.ExecutedUnknown)
		})
		synctest.Wait()
		if err := gone.Close(context.Background()); err != nil {
			t.Error(err)
		}
		r.broker.Stop() // what is durable survives that
		r.broker.Start()
		_, stop = r.serve(r.broker.Connector("server"), log.count(twice))
		calls.Wait()
		synctest.Wait()
		stop()
		if n := log.ran(); n != 3 {
			t.Errorf("the handler ran %d times, want 3: for each call once", n)
		}
	})
}

// A no for the moment is not the last word on a request that was to wait in the queue: it may come back there, if its
// acknowledgement is lost.
func TestRefusedForTheMoment(t *testing.T) {
	for _, c := range []struct {
		name string
		code rpc.Code
		opts []client.CallOption
		want rpc.Execution
	}{
		{"direct", rpc.Unavailable, nil, rpc.ExecutedNo},
		{"durable", rpc.Unavailable, []client.CallOption{client.Durable()}, rpc.ExecutedUnknown},
		{"durable, for good", rpc.InvalidArgument, []client.CallOption{client.Durable()}, rpc.ExecutedNo},
		{"durable, at most once: no server starts it again", rpc.Unavailable, []client.CallOption{client.Durable(), client.AtMostOnce()}, rpc.ExecutedNo},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.serve(r.broker.Connector("server"), func(context.Context, int) (int, error) {
					return 0, rpc.Errorf(c.code, "not now").WithExecuted(rpc.ExecutedNo)
				})
				_, err := client.Call(t.Context(), r.client, double, 1, append(c.opts, client.WithoutRetry())...)
				check(t, err, c.code, c.want)
			})
		})
	}
}

func TestDurableRefusals(t *testing.T) {
	t.Run("no such service", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			_, err := client.Call(t.Context(), r.client, double, 1, client.Durable())
			check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		})
	})
	t.Run("nacked", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			r.serve(r.broker.Connector("server"), twice)
			r.mustCall(0)
			struck := r.conn.Fail(conntest.RefusePublish(1))
			_, err := client.Call(t.Context(), r.client, double, 1, client.Durable(), client.WithoutRetry())
			check(t, err, rpc.ResourceExhausted, rpc.ExecutedNo)
			<-struck
			r.conn.Fail(conntest.RefusePublish(1))
			if got, err := client.Call(t.Context(), r.client, double, 1, client.Durable()); got != 2 || err != nil {
				t.Errorf("with a retry: got %d, %v, want 2", got, err)
			}
		})
	})
	t.Run("confirm lost", func(t *testing.T) { // the reply outranks it
		inBubble(t, func(t *testing.T, r *rig) {
			r.serve(r.broker.Connector("server"), twice)
			struck := r.conn.Fail(conntest.DropConfirm(1))
			if got, err := client.Call(t.Context(), r.client, double, 1, client.Durable()); got != 2 || err != nil {
				t.Errorf("got %d, %v, want 2", got, err)
			}
			<-struck
		})
	})
}

// Where the broker does not tell who consumes a queue, the servers are asked.
func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := conntest.NewBroker()
		defer b.Close()
		looks := 0
		c, err := client.New(&hooked{Connector: b.Connector("client", conntest.WithoutInspect()), inspect: func() { looks++ }}, client.WithoutBreaker())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		r := &rig{t: t, broker: b, client: c}

		var log journal
		_, stop := r.serve(b.Connector("server"), log.count(twice))
		r.mustCall(1)
		stop()
		time.Sleep(time.Second)
		_, err = r.call(t.Context(), 2) // was there a moment ago: that it bounced does not tell why
		check(t, err, rpc.Unavailable, rpc.ExecutedUnknown, client.ErrNoServer)
		start := time.Now()
		_, err = r.call(t.Context(), 3)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		time.Sleep(time.Second)
		_, err = r.call(t.Context(), 4) // a ping, and no call, bounces
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		took(t, start, time.Second)
		if n := log.ran(); n != 1 {
			t.Errorf("the handler ran %d times, want once: pings are no calls", n)
		}
		if n := c.Pending(); n != 0 {
			t.Errorf("%d pings are left", n)
		}
		if looks != 1 {
			t.Errorf("the broker was asked %d times, want once", looks)
		}
	})
}

// RabbitMQ logs each look that it refuses: it is asked once in a session, however often the client would like to know.
func TestLooksOnceWhereRefused(t *testing.T) {
	tests := []struct {
		name string
		f    func(r *rig)
		opts []client.Option
	}{
		{"calls that are made once, to a plain queue", func(r *rig) {
			r.serve(r.broker.Connector("server"), twice, server.WithQueue("rpc_queue", "double"))
			for n := range 5 {
				r.mustCall(n, client.AtMostOnce())
				time.Sleep(time.Second)
			}
		}, []client.Option{client.WithQueue("rpc_queue")}},
		{"a request that waits for long", func(r *rig) {
			r.serve(r.broker.Connector("server"), slow(500*time.Millisecond), server.WithWorkers(1))
			r.mustCall(0)
			var calls sync.WaitGroup
			defer calls.Wait()
			for n := range 30 { // the second bounces, and the ping after it does not: from then on they wait
				calls.Go(func() { r.mustCall(n) })
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				looks := 0
				tt.f(newRig(t, func(c conn.Connector) conn.Connector {
					return &hooked{Connector: c, inspect: func() { looks++ }, lookErr: conn.ErrRefused, publish: laterPings}
				}, append(tt.opts, client.WithTimeout(time.Minute))...))
				if looks != 1 {
					t.Errorf("the broker was asked %d times, want once", looks)
				}
			})
		})
	}
}

// laterPings publishes pings when those who were busy have room again.
func laterPings(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
	if m.Type == wire.Ping {
		time.Sleep(600 * time.Millisecond)
	}
	return p.Publish(m, confirmed)
}

func TestWaitForServer(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		time.AfterFunc(5*time.Second, func() {
			s, err := server.New(r.broker.Connector("server"), "math", quiet)
			if err != nil {
				t.Error(err)
				return
			}
			server.Handle(s, double, twice)
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			s.Run(ctx)
		})
		start := time.Now()
		if got, err := client.Call(t.Context(), r.client, double, 1, client.WaitForServer()); got != 2 || err != nil {
			t.Errorf("got %d, %v, want 2", got, err)
		}
		if d := time.Since(start); d > 5200*time.Millisecond {
			t.Errorf("it took %v, 200ms after the server came", d)
		}
		time.Sleep(20 * time.Second)
		_, err := client.Call(t.Context(), r.client, double, 1, client.WaitForServer(), client.WithTimeout(3*time.Second))
		check(t, err, rpc.Unavailable, rpc.ExecutedUnknown, client.ErrNoServer) // the first attempt bounced: it was there before
	})
}

// What would wait for the broker fails at once if the caller chose so.
func TestFailFast(t *testing.T) {
	for _, tt := range []struct {
		name string
		hit  func(r *rig)
		is   error
	}{
		{"no connection", func(r *rig) { r.broker.Stop() }, conn.ErrNotConnected},
		{"broker takes no messages", func(r *rig) { r.broker.Block() }, conn.ErrBlocked},
		{"no server", func(r *rig) {}, client.ErrNoServer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				if tt.is != client.ErrNoServer {
					r.serve(r.broker.Connector("server"), twice)
					r.mustCall(1)
				}
				tt.hit(r)
				start := time.Now()
				_, err := client.Call(t.Context(), r.client, double, 1, client.FailFast())
				check(t, err, rpc.Unavailable, rpc.ExecutedNo, tt.is)
				took(t, start, 0)
				r.broker.Unblock()
				r.broker.Start()
			})
		})
	}
}

// Replies of the wrong user are dropped; the broker vouches for the right one.
func TestServerUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := conntest.NewBroker()
		defer b.Close()
		c, err := client.New(b.Connector("client"), client.WithServerUser("math"), client.WithTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		r := &rig{t: t, broker: b, client: c}
		_, stop := r.serve(b.Connector("other", conntest.WithUser("other")), twice, server.WithUser("other"))
		defer stop()
		_, err = r.call(t.Context(), 1)
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		if n := c.Stats().Forged; n != 1 {
			t.Errorf("%d replies counted as forged, want 1", n)
		}
		stop()
		_, stop = r.serve(b.Connector("math", conntest.WithUser("math")), twice, server.WithUser("math"))
		defer stop()
		time.Sleep(time.Second)
		r.mustCall(2)
	})
}

// A server can rely on who calls: the broker has checked it.
func TestUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := conntest.NewBroker()
		defer b.Close()
		c, err := client.New(b.Connector("client", conntest.WithUser("billing")), client.WithUser("billing"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		r := &rig{t: t, broker: b, client: c}
		_, stop := r.serve(b.Connector("server"), twice, server.WithAuthorizer(func(_ context.Context, req *rpc.Request) error {
			if req.User != "billing" {
				return errors.New("who?")
			}
			return nil
		}))
		defer stop()
		r.mustCall(1)
		_, err = c.Do(t.Context(), &rpc.Request{Service: "math", Method: "double", Body: []byte("1"), User: "root"}) // not for a caller to say
		check(t, err, rpc.OK, rpc.ExecutedYes)
	})
}

// A request can ask for itself to be executed at most once.
func TestRequestAtMostOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var once []bool
		_, stop := r.serve(r.broker.Connector("server"), twice, server.WithInterceptors(func(next rpc.Handler) rpc.Handler {
			return func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
				once = append(once, req.AtMostOnce)
				return next(ctx, req)
			}
		}))
		defer stop()
		for _, want := range []bool{true, false} {
			if _, err := r.client.Do(t.Context(), &rpc.Request{Service: "math", Method: "double", Body: []byte("1"), AtMostOnce: want}); err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(once, []bool{true, false}) {
			t.Errorf("got %v, want at most once, and not", once)
		}
	})
}

func TestHooks(t *testing.T) {
	var mu sync.Mutex
	var calls []client.CallEnded
	var attempts []client.AttemptEnded
	var presences []string
	sessions := 0
	locked := func(f func()) { mu.Lock(); defer mu.Unlock(); f() }
	inBubble(t, func(t *testing.T, r *rig) {
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo)
		r.serve(r.broker.Connector("server"), slow(time.Second))
		time.Sleep(time.Second)
		time.AfterFunc(time.Second/2, r.conn.Lose)
		r.mustCall(2)
		mu.Lock()
		defer mu.Unlock()
		if len(calls) != 2 || calls[0].Err == nil || calls[1].Reply == nil || calls[1].Took < time.Second {
			t.Errorf("got calls %+v, want one that failed and one that took a second", calls)
		}
		if len(attempts) != 2 || attempts[0].Ending != "lost" || attempts[0].Err == nil || attempts[1].Ending != "replied" || attempts[1].Mode != "direct" {
			t.Errorf("got attempts %+v, want one lost and one replied", attempts)
		}
		if got := len(presences); got < 2 || presences[0] != "rabbitrpc.math missing" || presences[1] != "rabbitrpc.math present" {
			t.Errorf("got %q, want missing, then present", presences)
		}
		if sessions != 2 {
			t.Errorf("%d sessions, want 2", sessions)
		}
	}, client.WithHooks(client.Hooks{
		CallEnded:    func(_ context.Context, e client.CallEnded) { locked(func() { calls = append(calls, e) }) },
		AttemptEnded: func(_ context.Context, e client.AttemptEnded) { locked(func() { attempts = append(attempts, e) }) },
		Presence:     func(q, p string) { locked(func() { presences = append(presences, q+" "+p) }) },
		Session:      func(error) { locked(func() { sessions++ }) },
	}))
}

func TestAttemptsAreTold(t *testing.T) {
	var told []int
	inBubble(t, func(t *testing.T, r *rig) {
		runs := 0
		r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
			if runs++; runs < 3 {
				return 0, rpc.Errorf(rpc.Aborted, "again").WithExecuted(rpc.ExecutedNo)
			}
			return 2 * n, nil
		})
		r.mustCall(1)
		if !slices.Equal(told, []int{1, 2, 3}) {
			t.Errorf("got attempts %v, want 1, 2, 3", told)
		}
	}, client.WithHooks(client.Hooks{
		AttemptEnded: func(_ context.Context, e client.AttemptEnded) { told = append(told, e.Request.Attempt) },
	}))
}

// Metrics and traces have hooks of their own: those of the user go on.
func TestHooksOfSeveral(t *testing.T) {
	var told []string
	hooks := func(who string) client.Option {
		say := func(what string) { told = append(told, who+" "+what) }
		return client.WithHooks(client.Hooks{
			CallEnded:    func(context.Context, client.CallEnded) { say("call") },
			AttemptEnded: func(context.Context, client.AttemptEnded) { say("attempt") },
			Presence:     func(string, string) { say("presence") },
			Breaker:      func(string, string, string) { say("breaker") },
			Session:      func(error) { say("session") },
		})
	}
	none := client.WithHooks(client.Hooks{})
	for _, tt := range []struct {
		name string
		opts []client.Option
		who  []string
	}{
		{"one, then none", []client.Option{hooks("a"), none}, []string{"a"}},
		{"none, then one", []client.Option{none, hooks("a")}, []string{"a"}},
		{"two", []client.Option{hooks("a"), hooks("b")}, []string{"a", "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told = nil
			inBubble(t, func(t *testing.T, r *rig) {
				for range 20 { // opens the breaker
					_, err := r.call(t.Context(), 1)
					check(t, err, rpc.Unavailable, rpc.ExecutedNo)
				}
				r.serve(r.broker.Connector("server"), slow(time.Millisecond))
				time.Sleep(time.Second)
				r.mustCall(1)
			}, tt.opts...)
			for _, what := range []string{"call", "attempt", "presence", "breaker", "session"} {
				for i, who := range tt.who {
					n := slices.Index(told, who+" "+what)
					if n < 0 || i > 0 && told[n-1] != tt.who[i-1]+" "+what {
						t.Errorf("%s was not told to %s, in its turn: %q", what, who, told)
					}
				}
			}
		})
	}
}

// A plain queue gives none of what a durable call is promised.
func TestPlainIsNotDurable(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		_, err := client.Call(t.Context(), r.client, double, 1, client.Durable())
		check(t, err, rpc.InvalidArgument, rpc.ExecutedNo)
	}, client.WithQueue("rpc_queue"))
}

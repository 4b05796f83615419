package client_test

import (
	"context"
	"fmt"
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

// journal is what a server saw: the requests that came in, and how often its handler ran.
type journal struct {
	mu       sync.Mutex
	ids      map[string]bool
	attempts []int
	runs     int
}

func (l *journal) intercept(next rpc.Handler) rpc.Handler {
	return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
		l.mu.Lock()
		if l.ids == nil {
			l.ids = make(map[string]bool)
		}
		l.ids[r.ID] = true
		l.attempts = append(l.attempts, r.Attempt)
		l.mu.Unlock()
		return next(ctx, r)
	}
}

func (l *journal) count(fn func(context.Context, int) (int, error)) func(context.Context, int) (int, error) {
	return func(ctx context.Context, n int) (int, error) {
		l.mu.Lock()
		l.runs++
		l.mu.Unlock()
		return fn(ctx, n)
	}
}

func (l *journal) ran() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs
}

func (l *journal) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d IDs, attempts %v, %d runs", len(l.ids), l.attempts, l.runs)
}

func TestSessionLost(t *testing.T) {
	for _, c := range []struct {
		name     string
		fault    conntest.Fault
		want     string
		replayed bool
	}{
		{"before the request arrives", conntest.LoseBeforePublish(1), "1 IDs, attempts [2], 1 runs", false},
		{"after the request arrived", conntest.LoseAfterPublish(1), "1 IDs, attempts [1 2], 1 runs", true},
		{"publish fails, request arrived", conntest.FailPublish(1), "1 IDs, attempts [1 2], 1 runs", true},
	} {
		for _, handling := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("%s, handler takes %v", c.name, handling), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, func(c conn.Connector) conn.Connector {
						return &hooked{Connector: c, before: sleepAfterFirst(10 * time.Millisecond)} // else attempts could overtake each other
					})
					var log journal
					s, _ := r.serve(r.broker.Connector("server"), log.count(slow(handling)), server.WithInterceptors(log.intercept))
					struck := r.conn.Fail(c.fault)
					reply, err := r.client.Do(t.Context(), &rpc.Request{Service: "math", Method: "double", Body: []byte("21")})
					if err != nil || string(reply.Body) != "42" || reply.Replayed != c.replayed {
						t.Fatalf("got %+v, %v, want 42, replayed %v", reply, err, c.replayed)
					}
					<-struck
					if got := log.String(); got != c.want {
						t.Errorf("got %s, want %s", got, c.want)
					}
					synctest.Wait()
					if got := r.client.Stats().Resent; got != 1 {
						t.Errorf("resent %d, want 1", got)
					}
					if got := s.Stats().Unroutable == 1; got != c.replayed {
						t.Errorf("a reply to the lost session was returned: %v, want %v", got, c.replayed)
					}
				})
			})
		}
	}
}

func TestServerDies(t *testing.T) {
	for _, c := range []struct {
		name     string
		kill     func(*conntest.Connector) // the first server
		handling time.Duration
		runs     [2]int
		took     time.Duration
	}{
		{"in mid-call", func(c *conntest.Connector) {
			time.AfterFunc(300*time.Millisecond, c.Lose)
		}, time.Second, [2]int{1, 1}, 1300 * time.Millisecond},
		{"before its reply", func(c *conntest.Connector) { c.Fail(conntest.LoseBeforePublish(1)) }, 0, [2]int{1, 1}, 0},
		{"between reply and acknowledgement", func(c *conntest.Connector) { c.Fail(conntest.LoseAfterPublish(1)) }, 0, [2]int{1, 0}, 0},
		{"with its acknowledgement", func(c *conntest.Connector) { c.Fail(conntest.LoseAck(1)) }, 0, [2]int{1, 0}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var logs [2]journal
				first := r.broker.Connector("first") // its turn comes first
				r.serve(first, logs[0].count(slow(c.handling)))
				r.serve(r.broker.Connector("second"), logs[1].count(slow(c.handling)))
				c.kill(first)
				start := time.Now()
				r.mustCall(21)
				took(t, start, c.took)
				time.Sleep(time.Second)
				if got := [2]int{logs[0].ran(), logs[1].ran()}; got != c.runs {
					t.Errorf("the servers ran it %v times, want %v", got, c.runs)
				}
			})
		})
	}
}

// The only server dies in mid-call: that it comes back is possible, that it is gone is the answer.
func TestOnlyServerDies(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		dead := r.broker.Connector("server")
		r.serve(&hooked{Connector: dead, before: sleepAfterFirst(time.Minute)}, slow(time.Second))
		time.AfterFunc(300*time.Millisecond, dead.Lose)
		start := time.Now()
		_, err := r.call(t.Context(), 21)
		check(t, err, rpc.Unavailable, rpc.ExecutedUnknown, client.ErrNoServer)
		if d := time.Since(start); d < 400*time.Millisecond || d > 525*time.Millisecond {
			t.Errorf("it took %v, want 400 to 525ms: it is not believed at once", d)
		}
		start = time.Now()
		_, err = r.call(t.Context(), 21)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		took(t, start, 0)
	})
}

// sleepAfterFirst makes each Session but the first come late.
func sleepAfterFirst(d time.Duration) func(context.Context) {
	var first atomic.Bool
	return func(ctx context.Context) {
		if !first.Swap(true) {
			return
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}

// A server that denies a call has denied the attempt that it got. An earlier one may have been executed elsewhere.
func TestDenialIsForOneAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var log journal
		first := r.broker.Connector("first")
		r.serve(first, log.count(slow(time.Second)))
		older, err := server.New(r.broker.Connector("second"), "math", quiet)
		if err != nil {
			t.Fatal(err)
		}
		older.Handle("triple", func(context.Context, *rpc.Request) (*rpc.Reply, error) { return nil, nil })
		r.run(older)
		time.AfterFunc(300*time.Millisecond, first.Lose)
		_, err = r.call(t.Context(), 21)
		check(t, err, rpc.Unimplemented, rpc.ExecutedUnknown)
		if got := log.ran(); got != 1 {
			t.Errorf("handler ran %d times, want 1", got)
		}
		time.Sleep(time.Second)
	})
}

// The answer is there when something else ends the attempt, and the caller learns of both at once.
func TestAnswerOutranks(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(r *rig, s *conntest.Connector)
	}{
		{"the server's death", func(_ *rig, s *conntest.Connector) { s.Fail(conntest.LoseAck(1)) }},
		{"a lost session", func(r *rig, _ *conntest.Connector) { time.AfterFunc(time.Second, r.conn.Lose) }},
		{"the deadline", func(*rig, *conntest.Connector) {}},
		{"Close", func(r *rig, _ *conntest.Connector) {
			time.AfterFunc(time.Second, func() { r.client.Close(context.Background()) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 10 { // it must not be a matter of chance
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, func(c conn.Connector) conn.Connector {
						return &hooked{Connector: c, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
							err := p.Publish(m, confirmed)
							time.Sleep(3 * time.Second)
							return err
						}}
					}, client.WithTimeout(2*time.Second))
					process := r.broker.Connector("server")
					r.serve(process, twice)
					c.fault(r, process)
					r.mustCall(21)
					if got := r.client.Stats().Resent; got != 0 {
						t.Errorf("sent again %d times", got)
					}
				})
			}
		})
	}
}

func TestBusy(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), slow(300*time.Millisecond), server.WithWorkers(1))
		two := func(want time.Duration, bounced uint64) {
			t.Helper()
			start := time.Now()
			var calls sync.WaitGroup
			for n := range 2 {
				calls.Go(func() { r.mustCall(n) })
				synctest.Wait()
			}
			calls.Wait()
			took(t, start, want)
			if got := r.client.Stats().Bounced; got != bounced {
				t.Errorf("%d bounces, want %d", got, bounced)
			}
		}
		two(600*time.Millisecond, 1)
		two(600*time.Millisecond, 1) // for a second calls wait in the queue without having been refused
		time.Sleep(time.Second)
		two(600*time.Millisecond, 1) // one call tries whether there is room, and finds some
	})
}

// A call that waits in the queue of a busy server leaves nothing behind when its time is over.
func TestBusyUntilDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), slow(2*time.Second), server.WithWorkers(1))
		var first sync.WaitGroup
		first.Go(func() { r.mustCall(1) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := r.call(ctx, 2)
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		took(t, start, time.Second)
		ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err = r.call(ctx, 3) // whose only attempt is in the queue: who knows where it has been
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		took(t, start, 1500*time.Millisecond)
		synctest.Wait()
		if q, _ := r.broker.Queue("rabbitrpc.math"); q.Ready != 0 {
			t.Errorf("left in the queue: %+v", q)
		}
		first.Wait()
	})
}

// A request does not wait until it is too late for the work: it ends earlier, and whether a server had it nobody knows.
func TestBusyTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), slow(2*time.Second), server.WithWorkers(1))
		r.mustCall(0) // how long a call takes is known now
		var first sync.WaitGroup
		first.Go(func() { r.mustCall(1) })
		for range 2 { // the first bounces, for the second the server is known to be busy
			synctest.Wait()
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := r.call(ctx, 2)
			check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
			if d := time.Since(start); d < 250*time.Millisecond || d >= 500*time.Millisecond {
				t.Errorf("it took %v, want half the time or more, and not all", d)
			}
		}
		first.Wait()
	})
}

func TestBrokerDown(t *testing.T) {
	for _, c := range []struct {
		name string
		back time.Duration
		ok   bool
	}{
		{"for good", time.Hour, false},
		{"back in time", 2 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.serve(r.broker.Connector("server"), twice)
				r.mustCall(1)
				r.broker.Stop()
				start := time.Now()
				time.AfterFunc(c.back, r.broker.Start)
				_, err := r.call(t.Context(), 2)
				if !c.ok {
					check(t, err, rpc.Unavailable, rpc.ExecutedNo, conn.ErrNotConnected)
					took(t, start, 3*time.Second)
				} else if err != nil || time.Since(start) > c.back+200*time.Millisecond {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
				time.Sleep(c.back)
				r.mustCall(3)
			}, client.WithTimeout(3*time.Second))
		})
	}
}

func TestBrokerRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var log journal
		r.serve(&hooked{Connector: r.broker.Connector("server"), before: sleepAfterFirst(5 * time.Second)}, log.count(slow(time.Second)))
		r.mustCall(0)
		var calls sync.WaitGroup
		for n := 1; n <= 3; n++ {
			calls.Go(func() { r.mustCall(n) })
		}
		time.Sleep(500 * time.Millisecond)
		r.broker.Stop()
		time.Sleep(100 * time.Millisecond)
		r.broker.Start()
		time.Sleep(time.Second)
		r.mustCall(4) // before its server is back

		calls.Wait()
		if got := log.String(); !strings.HasSuffix(got, "5 runs") {
			t.Errorf("got %s, want 5 runs", got)
		}
	})
}

// Only who has been there is expected back.
func TestNoServerAfterRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		_, stop := r.serve(r.broker.Connector("server"), twice)
		r.mustCall(1)
		stop()
		r.conn.Lose()
		start := time.Now()
		_, err := client.Call(t.Context(), r.client, rpc.Method[int, int]{Service: "other", Name: "x"}, 1)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		took(t, start, 0)
		_, err = r.call(t.Context(), 2)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		if d := time.Since(start); d < 9800*time.Millisecond || d > 10*time.Second {
			t.Errorf("it took %v, want nearly 10s: until there was no time for another attempt", d)
		}
		time.Sleep(11 * time.Second) // not for ever, though
		start = time.Now()
		_, err = r.call(t.Context(), 3)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
		took(t, start, 0)
	})
}

func TestNoServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		opts  []conntest.Option
		other bool // another service has a server
		gone  bool // the service had a server, whose queue is left
	}{
		{"new broker", nil, false, false},
		{"new broker, may not look", []conntest.Option{conntest.WithoutInspect()}, false, false},
		{"no queue", nil, true, false},
		{"no queue, may not look", []conntest.Option{conntest.WithoutInspect()}, true, false},
		{"queue is left", nil, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				r.conn = r.broker.Connector("client", c.opts...)
				called, err := client.New(r.conn)
				if err != nil {
					t.Fatal(err)
				}
				defer called.Close(t.Context())
				if c.other {
					s, err := server.New(r.broker.Connector("other"), "other", quiet)
					if err != nil {
						t.Fatal(err)
					}
					s.Handle("x", func(context.Context, *rpc.Request) (*rpc.Reply, error) { return nil, nil })
					r.run(s)
				}
				if c.gone {
					_, stop := r.serve(r.broker.Connector("server"), twice)
					stop()
				}
				session, err := r.conn.Session(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				for range 3 {
					_, err := client.Call(t.Context(), called, double, 21)
					check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer, rpc.ErrNoAnswer)
				}
				took(t, start, 0)
				if session.Err() != nil {
					t.Errorf("it cost the session: %v", session.Err())
				}

				r.serve(r.broker.Connector("server"), twice)
				time.Sleep(time.Second) // a look is trusted for 50 ms, a search for an exchange for a second
				if got, err := client.Call(t.Context(), called, double, 21); got != 42 || err != nil {
					t.Errorf("with a server: got %d, %v", got, err)
				}
			})
		})
	}
}

// However many callers ask for somebody who is not there, the broker is asked once in a while.
func TestLooksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, inspect: func() { looks.Add(1); time.Sleep(time.Millisecond) }}
		}, client.WithoutBreaker())
		_, stop := r.serve(r.broker.Connector("server"), twice)
		stop()
		for n := range int64(3) {
			for range 2 { // the second time it is known
				var calls sync.WaitGroup
				for range 50 {
					calls.Go(func() {
						_, err := r.call(t.Context(), 1)
						check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
					})
				}
				calls.Wait()
			}
			if got := looks.Load(); got != n+1 {
				t.Errorf("%d looks, want %d", got, n+1)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestBlocked(t *testing.T) {
	for _, c := range []struct {
		name      string
		unblocked time.Duration
		ok        bool
	}{
		{"in time", 2 * time.Second, true},
		{"for good", time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.serve(r.broker.Connector("server"), twice)
				r.mustCall(1)
				r.broker.Block()
				time.AfterFunc(c.unblocked, r.broker.Unblock)
				start := time.Now()
				if c.ok {
					r.mustCall(2)
					took(t, start, c.unblocked)
				} else {
					_, err := r.call(t.Context(), 2)
					check(t, err, rpc.Unavailable, rpc.ExecutedNo, conn.ErrBlocked)
					took(t, start, 3*time.Second)
				}
				time.Sleep(c.unblocked)
				r.mustCall(3)
			}, client.WithTimeout(3*time.Second))
		})
	}
}

// The alarm is over between the refusal of a publish and the question how long it will last: there is nothing to wait for.
func TestUnblockedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusals := 3
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				if refusals > 0 {
					refusals--
					return conn.ErrBlocked
				}
				return p.Publish(m, confirmed)
			}}
		})
		r.serve(r.broker.Connector("server"), twice)
		start := time.Now()
		r.mustCall(1)
		took(t, start, 0)
	})
}

// An answer to an earlier attempt ends the wait for the next.
func TestAnswerWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				err := p.Publish(m, confirmed)
				once.Do(func() { err = fmt.Errorf("write: %w", context.DeadlineExceeded) }) // it got through all the same
				return err
			}}
		})
		s, _ := r.serve(r.broker.Connector("server"), twice)
		start := time.Now()
		r.mustCall(1)
		took(t, start, 0)
		synctest.Wait()
		if got := s.Stats().Received; got != 1 {
			t.Errorf("the server got %d requests, want 1", got)
		}
	})
}

// There is no last attempt of an ID: that of a health check is used for years.
func TestManyAttempts(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), twice)
		again := &rpc.Request{ID: "health", Service: "math", Method: "double", ContentType: rpc.ContentTypeJSON, Body: []byte("21")}
		for _, n := range []int{1<<29 - 2, 1<<30 - 2} {
			r.client.Age(again, n)
			for range 4 {
				r.mustCall(21, client.WithCallID("health"))
			}
		}
	})
}

package client_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// While the leader of a quorum queue does not answer, RabbitMQ says after a quarter of a second that the queue has no
// consumers. That is no reason to give a call up.
func TestLookWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &blind{Connector: c, lies: func() bool { time.Sleep(250 * time.Millisecond); return true }}
		})
		r.serve(r.broker.Connector("server"), twice)
		r.mustCall(21)
	})
}

// If nobody is there, slow looks do not hide it: what is sent comes back.
func TestSlowLookAtNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &blind{Connector: c, lies: func() bool { time.Sleep(250 * time.Millisecond); return false }}
		})
		_, stop := r.serve(r.broker.Connector("server"), twice)
		r.mustCall(21)
		stop()
		start := time.Now()
		_, err := r.call(t.Context(), 21)
		check(t, err, rpc.Unavailable, rpc.ExecutedUnknown, client.ErrNoServer)
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("it took %v, want at most 4s", d)
		}
	})
}

// A request that was held up by the loss of a leader may come back from the new one before that knows its consumers.
func TestNewLeaderWithoutConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leaderless atomic.Bool
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &blind{Connector: c, lies: leaderless.Load}
		}, client.WithTimeout(30*time.Second))
		_, stop := r.serve(r.broker.Connector("first"), slow(10*time.Second))
		dead := r.broker.Connector("dies")
		stop()
		r.serve(&hooked{Connector: dead, before: sleepAfterFirst(time.Minute)}, slow(10*time.Second))
		time.AfterFunc(5*time.Second, func() {
			leaderless.Store(true)
			dead.Lose() // the request comes back
		})
		time.AfterFunc(6*time.Second, func() {
			leaderless.Store(false)
			r.serve(r.broker.Connector("second"), twice)
		})
		r.mustCall(21)
	})
}

// For about as long as a quorum queue has no leader, RabbitMQ says at once that it has no consumers. What is published then waits for
// the next leader.
func TestNoLeader(t *testing.T) {
	for _, tt := range []struct {
		name string
		next time.Duration // leader
	}{
		{"for long", 500 * time.Millisecond},
		{"longer than a ping waits", 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var until atomic.Int64 // there is no leader; nanoseconds
				left := func() time.Duration { return time.Until(time.Unix(0, until.Load())) }
				r := newRig(t, func(c conn.Connector) conn.Connector {
					return &blind{lies: func() bool { return left() > 0 }, Connector: &hooked{Connector: c,
						publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
							if left() <= 0 {
								return p.Publish(m, confirmed)
							}
							time.AfterFunc(left(), func() { p.Publish(m, confirmed) })
							return nil
						}}}
				}, client.WithTimeout(time.Minute))
				r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
					if n == 1 {
						time.Sleep(10 * time.Second)
					}
					return 2 * n, nil
				}, server.WithWorkers(1))
				var calls sync.WaitGroup
				calls.Go(func() { r.mustCall(1) })
				synctest.Wait()
				calls.Go(func() { r.mustCall(2) }) // bounces: the service is busy
				time.Sleep(2 * time.Second)        // one call a second looks whether there is room again

				until.Store(time.Now().Add(tt.next).UnixNano())
				for range 10 {
					calls.Go(func() { r.mustCall(3) })
				}
				calls.Wait()
			})
		})
	}
}

// Servers who were there a moment ago are gone when that is seen for a while, by all callers together.
func TestServersBackSoon(t *testing.T) {
	const callers = 20
	for _, tt := range []struct {
		name    string
		back    time.Duration // after they were gone
		opts    []client.CallOption
		code    rpc.Code
		atLeast time.Duration // that a call goes on
		atMost  time.Duration
	}{
		{name: "after one look", back: 5 * time.Millisecond, code: rpc.OK, atLeast: 25 * time.Millisecond, atMost: 130 * time.Millisecond},
		{name: "after 100ms", back: 100 * time.Millisecond, code: rpc.OK, atLeast: 100 * time.Millisecond, atMost: 230 * time.Millisecond},
		{name: "too late", back: time.Second, code: rpc.Unavailable, atLeast: 100 * time.Millisecond, atMost: 230 * time.Millisecond},
		{name: "fail fast", back: time.Second, opts: []client.CallOption{client.FailFast()}, code: rpc.Unavailable, atMost: 5 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var looks atomic.Int32
				r := newRig(t, func(c conn.Connector) conn.Connector {
					return &hooked{Connector: c, inspect: func() { looks.Add(1); time.Sleep(time.Millisecond) }}
				})
				dead := r.broker.Connector("dies")
				r.serve(&hooked{Connector: dead, before: sleepAfterFirst(time.Minute)}, slow(500*time.Millisecond), server.WithWorkers(2*callers))
				r.mustCall(1)
				var calls sync.WaitGroup
				call := func(start time.Time, executed rpc.Execution) {
					_, err := r.call(t.Context(), 21, tt.opts...)
					if tt.code != rpc.OK {
						check(t, err, tt.code, executed, client.ErrNoServer)
					} else if err != nil {
						t.Error(err)
					}
					if d := time.Since(start); d < tt.atLeast || d > tt.atMost {
						t.Errorf("it took %v, want %v to %v", d, tt.atLeast, tt.atMost)
					}
				}
				death := time.Now().Add(300 * time.Millisecond)
				for range callers {
					calls.Go(func() { call(death, rpc.ExecutedUnknown) })
				}
				time.Sleep(time.Until(death))
				looks.Store(0)
				dead.Lose() // the requests come back
				time.AfterFunc(tt.back, func() { r.serve(r.broker.Connector("lives"), twice, server.WithWorkers(2*callers)) })
				time.Sleep(3 * time.Millisecond)
				for range callers { // these have never been with a server
					calls.Go(func() { call(death, rpc.ExecutedNo) })
				}
				calls.Wait()
				if n := looks.Load(); n > 6 {
					t.Errorf("%d looks, want at most 6: one for all every 50ms", n)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// A blind connector sees no consumers and no messages while it lies.
type blind struct {
	conn.Connector
	lies func() bool
}

type blindSession struct {
	conn.Session
	b *blind
}

func (b *blind) Session(ctx context.Context) (conn.Session, error) {
	s, err := b.Connector.Session(ctx)
	return blindSession{s, b}, err
}

func (s blindSession) InspectQueue(ctx context.Context, name string) (conn.QueueInfo, error) {
	q, err := s.Session.InspectQueue(ctx, name)
	if s.b.lies() {
		q.Consumers, q.Messages = 0, 0
	}
	return q, err
}

package client_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
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

// A blind connector sees no consumers while it lies.
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
		q.Consumers = 0
	}
	return q, err
}

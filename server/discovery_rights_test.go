package server_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// limited refuses some of what the sessions for questions do, and always to declare the exchange.
type limited struct {
	conn.Connector
	lacks *atomic.Value // the right, a string
}

type limitedSession struct {
	conn.Session
	limited
}

var errRefused = &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}

func (l limited) Dial(ctx context.Context) (conn.Session, error) {
	s, err := l.Connector.Dial(ctx)
	return limitedSession{s, l}, err
}

func (s limitedSession) DeclareExchange(context.Context, conn.Exchange) error { return errRefused }

func (s limitedSession) DeclareQueue(ctx context.Context, q conn.Queue) (conn.QueueInfo, error) {
	if s.lacks.Load() == "configure" {
		return conn.QueueInfo{}, errRefused
	}
	return s.Session.DeclareQueue(ctx, q)
}

func (s limitedSession) BindQueue(ctx context.Context, queue, exchange, key string) error {
	if s.lacks.Load() == "write" {
		return errRefused
	}
	return s.Session.BindQueue(ctx, queue, exchange, key)
}

func (s limitedSession) Consume(ctx context.Context, c conn.Consume, f func(*conn.Delivery)) (conn.Consumer, error) {
	if s.lacks.Load() == "read" {
		return nil, errRefused
	}
	return s.Session.Consume(ctx, c, f)
}

// A server that may not be asked says so once and serves. Once it may, it is found, be it that it may declare nothing else.
func TestDiscoveryRefused(t *testing.T) {
	for _, lacks := range []string{"configure", "write", "read"} {
		t.Run(lacks, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var right atomic.Value
				right.Store(lacks)
				session, err := r.conn.Session(t.Context())
				if err == nil {
					err = session.DeclareExchange(t.Context(), wire.QuestionExchange)
				}
				if err != nil {
					t.Fatal(err)
				}
				r.start(limited{r.conn, &right}, twice)
				time.Sleep(10 * time.Minute)
				r.mustAnswer()
				if got := strings.Count(r.log.String(), "cannot be discovered"); got != 1 {
					t.Errorf("said %d times, want once:\n%s", got, r.log)
				}
				right.Store("")
				time.Sleep(2 * time.Minute)
				if got := r.instances(wire.Ping, ""); len(got) != 1 {
					t.Errorf("once it may, %d instances answer, want 1", len(got))
				}
			})
		})
	}
}

// tardy takes an hour to declare the exchange for calls.
type tardy struct{ conn.Connector }

type tardySession struct{ conn.Session }

func (t tardy) Session(ctx context.Context) (conn.Session, error) {
	s, err := t.Connector.Session(ctx)
	return tardySession{s}, err
}

func (s tardySession) DeclareExchange(ctx context.Context, e conn.Exchange) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Hour):
		return s.Session.DeclareExchange(ctx, e)
	}
}

// The first server of a new broker is found as soon as it is there.
func TestDiscoveryOnANewBroker(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(tardy{r.conn}, twice)
		synctest.Wait()
		if got := r.instances(wire.Ping, ""); len(got) != 1 {
			t.Errorf("%d instances answer, want 1", len(got))
		}
	})
}

package server_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

func from(client string) func(*conn.Message) {
	return func(m *conn.Message) { m.AppID = client }
}

func fromUser(m *conn.Message) { m.UserID = "guest" }

// Of one tenant no more is executed at a time than may be, and others are not touched by what it asks for.
func TestTenantLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		seen := 0
		p := r.start(r.conn, slow(time.Second, &runs), server.WithWorkers(6), server.WithTenantLimit(2),
			server.WithInterceptors(func(next rpc.Handler) rpc.Handler {
				return func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
					runs.mu.Lock()
					seen++
					runs.mu.Unlock()
					return next(ctx, req)
				}
			}))
		r.send(r.request("1", from("greedy")))
		time.Sleep(time.Second)
		if got := summary(r.replies()); got != "[2]" { // from now on it is known how long a call takes
			t.Fatalf("got %v", got)
		}
		for range 5 {
			r.send(r.request("1", from("greedy")))
		}
		got := r.replies()
		if len(got) != 3 {
			t.Fatalf("%d refused, want 3", len(got))
		}
		for _, m := range got {
			_, err := wire.DecodeReply(m)
			check(t, err, rpc.ResourceExhausted, rpc.ExecutedNo)
			if e, _ := errors.AsType[*rpc.Error](err); e.RetryAfter < time.Second/2 || e.RetryAfter > 3*time.Second/2 {
				t.Errorf("retry after %v, and a call takes a second", e.RetryAfter)
			}
		}
		r.send(r.request("2", from("guest")))
		r.send(r.request("2", from("greedy"), fromUser)) // a user is another tenant, whatever the clients' names
		r.send(r.request("2", from("modest"), fromUser))
		r.send(r.request("2", from("greedy"), fromUser))
		if got := summary(r.replies()); got != "[resource_exhausted]" {
			t.Errorf("got %v, want the third of the user refused", got)
		}
		time.Sleep(time.Second)
		if got := summary(r.replies()); got != "[2 2 4 4 4]" || runs.ran() != 6 || seen != 6 || p.Stats().Refused != 4 {
			t.Errorf("got %v, %d runs, %d requests at an interceptor, %+v, want 6 and 6, 4 refused", got, runs.ran(), seen, p.Stats())
		}
		r.send(r.request("3", from("greedy")))
		time.Sleep(time.Second)
		if got := summary(r.replies()); got != "[6]" {
			t.Errorf("got %v, want it let in again", got)
		}
	})
}

// What waits for the same call keeps a worker too, and says nothing of how long a call takes.
func TestTenantLimitCountsDuplicates(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs), server.WithTenantLimit(2))
		m := r.request("1")
		r.send(m)
		r.send(m)
		r.send(m)
		if got := summary(r.replies()); got != "[resource_exhausted]" {
			t.Errorf("got %v, want the third refused", got)
		}
		time.Sleep(time.Second)
		if got := summary(r.replies()); got != "[2 2*]" || runs.ran() != 1 {
			t.Errorf("got %v, %d runs", got, runs.ran())
		}
		for range 100 {
			r.send(m)
			r.reply()
		}
		for range 3 {
			r.send(r.request("1"))
		}
		_, err := wire.DecodeReply(r.reply())
		if e, _ := errors.AsType[*rpc.Error](err); e == nil || e.RetryAfter < time.Second/2 {
			t.Errorf("got %+v, want to retry after what a call takes, not a duplicate", e)
		}
		time.Sleep(time.Second)
		r.replies()
	})
}

// What is delivered again may have been executed. It is let in, and gets the answer of the one that runs.
func TestTenantLimitOfRedelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs), server.WithTenantLimit(1))
		r.send(r.request("1", func(m *conn.Message) { m.Headers["rpc-at-most-once"] = true }))
		synctest.Wait()
		r.conn.Lose()
		time.Sleep(3 * time.Second)
		if got := summary(r.replies()); got != "[2*]" || runs.ran() != 1 {
			t.Errorf("got %v, %d runs, want the answer of the one run", got, runs.ran())
		}
	})
}

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
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Who had a request before may have executed it: the no of the server that gets it next speaks for that one alone.
func TestDenialOfRedelivery(t *testing.T) {
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
		_, err = client.Call(t.Context(), r.client, double, 21, client.Durable())
		check(t, err, rpc.Unimplemented, rpc.ExecutedUnknown)
		time.Sleep(time.Second)
		if got := log.ran(); got != 1 {
			t.Errorf("handler ran %d times, want 1", got)
		}
	})
}

// A call that is made again under its ID may run when the server's no to the call before comes.
func TestDenialIsForOneCall(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var log journal
		r.serve(r.broker.Connector("server"), log.count(func(_ context.Context, n int) (int, error) {
			time.Sleep(2 * time.Second)
			if log.ran() == 1 {
				return 0, rpc.Errorf(rpc.FailedPrecondition, "not yet").WithExecuted(rpc.ExecutedNo)
			}
			return 2 * n, nil
		}), server.WithDrain(time.Hour))
		_, err := client.Call(t.Context(), r.client, double, 21, client.WithCallID("7"), client.WithTimeout(time.Second))
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		got, err := client.Call(t.Context(), r.client, double, 21, client.WithCallID("7"))
		if got != 42 || err != nil {
			t.Errorf("got %d, %v, executed %v, want 42", got, err, rpc.Executed(err))
		}
		time.Sleep(5 * time.Second)
	})
}

// refusing makes a connector whose sessions end with a refusal of the broker.
func refusing(c conn.Connector, publish func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error) *hooked {
	return &hooked{Connector: c, publish: publish, err: func(err error) error {
		if err == nil {
			return nil
		}
		return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED - write access to exchange 'rabbitrpc.math' in vhost '/' refused for user 'x'"}
	}}
}

// Rights that are taken away stop the next request, not the one that runs.
func TestRightsTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		published := 0
		r = newRig(t, func(c conn.Connector) conn.Connector {
			return refusing(c, func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				if published++; published == 1 {
					return p.Publish(m, confirmed)
				}
				r.conn.Lose()
				return nil
			})
		})
		var log journal
		r.serve(r.broker.Connector("server"), log.count(slow(time.Second)))
		time.AfterFunc(time.Second/2, func() {
			_, err := r.call(t.Context(), 2)
			check(t, err, rpc.PermissionDenied, rpc.ExecutedNo)
		})
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.PermissionDenied, rpc.ExecutedUnknown)
		time.Sleep(time.Second)
		if log.ran() != 1 {
			t.Errorf("handler ran %d times, want 1", log.ran())
		}
	})
}

// A ping that the broker refuses shows what a request would: it is not tried again and again, at the cost of a session each.
func TestPingDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		var published atomic.Int64
		r = newRig(t, func(c conn.Connector) conn.Connector {
			h := refusing(c, func(conn.Publisher, *conn.Message, func(bool)) error {
				published.Add(1)
				r.conn.Lose()
				return nil
			})
			h.lookErr = conn.ErrRefused
			return h
		})
		r.serve(r.broker.Connector("server"), twice)
		start := time.Now()
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.PermissionDenied, rpc.ExecutedNo, conn.ErrRefused)
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %v", d)
		}
		if n := published.Load(); n != 1 {
			t.Errorf("%d requests were refused, want 1", n)
		}
	})
}

// A refusal speaks for the last request on its channel. One that another client of the session has sent, or that took the other
// channel, since it is durable, may be running.
func TestRefusalOfAnother(t *testing.T) {
	for name, refused := range map[string][]client.CallOption{"of another client": nil, "on another channel": {client.Durable()}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var log journal
				r.serve(r.broker.Connector("server"), log.count(slow(time.Second)))
				other := r.client
				if refused == nil {
					var err error
					if other, err = client.New(r.conn); err != nil {
						t.Fatal(err)
					}
					defer other.Close(t.Context())
				}
				if _, err := client.Call(t.Context(), other, double, 1); err != nil {
					t.Fatal(err)
				}
				admin, err := r.broker.Connector("admin").Session(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(500*time.Millisecond, func() {
					if err := admin.DeleteExchange(t.Context(), "rabbitrpc.math"); err != nil {
						t.Error(err)
					}
					_, err := client.Call(t.Context(), other, double, 2, append(refused, client.WithTimeout(time.Second))...)
					check(t, err, rpc.Unavailable, rpc.ExecutedNo, client.ErrNoServer)
				})
				_, err = r.call(t.Context(), 21, client.WithTimeout(2*time.Second))
				check(t, err, rpc.Unavailable, rpc.ExecutedUnknown, client.ErrNoServer)
				time.Sleep(10 * time.Second)
				if n := log.ran(); n != 2 {
					t.Errorf("handler ran %d times, want 2", n)
				}
				r.mustCall(3) // the server has declared its exchange again
			})
		})
	}
}

// A request that the broker takes from nobody is not sent again, and costs those who share the session one of it.
func TestUnwelcome(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.serve(r.broker.Connector("server"), twice)
		sessions := 0
		mallory, err := client.New(r.conn, client.WithUser("mallory"), client.WithHooks(client.Hooks{Session: func(error) {
			if sessions++; sessions > 10 {
				t.Fatal("it is sent again and again")
			}
		}}))
		if err != nil {
			t.Fatal(err)
		}
		defer mallory.Close(t.Context())
		start := time.Now()
		for range 3 {
			_, err = client.Call(t.Context(), mallory, double, 1)
			check(t, err, rpc.PermissionDenied, rpc.ExecutedNo, conn.ErrPrecondition)
		}
		took(t, start, 0)
		r.mustCall(2)
		time.Sleep(5 * time.Second) // it may be right by now
		_, err = client.Call(t.Context(), mallory, double, 1, client.AtMostOnce())
		check(t, err, rpc.PermissionDenied, rpc.ExecutedNo, conn.ErrPrecondition)
		if sessions != 2 {
			t.Errorf("%d sessions, want one for each time that it was tried", sessions)
		}
	})
}

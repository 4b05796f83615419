package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestOutcomes goes through all that a caller can see, and what it says of the effect. Calls are at most once here, so that
// the first attempt decides; docs/guarantees.md has the same table.
func TestOutcomes(t *testing.T) {
	ctxDone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		name     string
		hit      func(r *rig) // after a first call that went well
		handler  func(context.Context, int) (int, error)
		ctx      context.Context
		opts     []client.CallOption
		code     rpc.Code
		executed rpc.Execution
		is       error
	}{
		{name: "answered", code: rpc.OK, executed: rpc.ExecutedYes},

		// Before anything left.
		{name: "context done", ctx: ctxDone, code: rpc.Canceled, executed: rpc.ExecutedNo},
		{name: "broker takes no messages", hit: func(r *rig) { r.broker.Block() },
			code: rpc.Unavailable, executed: rpc.ExecutedNo, is: conn.ErrBlocked},
		{name: "no connection", hit: func(r *rig) { r.broker.Stop() },
			code: rpc.Unavailable, executed: rpc.ExecutedNo, is: conn.ErrNotConnected},
		{name: "properties that cannot be sent", opts: []client.CallOption{client.WithHeader(strings.Repeat("x", 256), "")},
			code: rpc.InvalidArgument, executed: rpc.ExecutedNo},
		{name: "call ID that cannot be one", opts: []client.CallOption{client.WithCallID(strings.Repeat("x", 256))},
			code: rpc.InvalidArgument, executed: rpc.ExecutedNo},
		{name: "call ID in use", opts: []client.CallOption{client.WithCallID("busy")}, hit: func(r *rig) {
			go client.Call(context.Background(), r.client, double, 60_000, client.WithCallID("busy"))
			time.Sleep(time.Millisecond)
		}, code: rpc.AlreadyExists, executed: rpc.ExecutedUnknown},
		{name: "no server, by a look", hit: func(r *rig) {
			r.stop()
			time.Sleep(time.Second)
			r.call(context.Background(), 1) // finds out
			time.Sleep(time.Second)
		}, code: rpc.Unavailable, executed: rpc.ExecutedNo, is: client.ErrNoServer},

		// The publish.
		{name: "publish failed half-way", hit: func(r *rig) { r.conn.Fail(conntest.FailPublish(1)) },
			code: rpc.Unavailable, executed: rpc.ExecutedUnknown},
		{name: "session lost with the request on its way", hit: func(r *rig) { r.conn.Fail(conntest.LoseBeforePublish(1)) },
			code: rpc.Unavailable, executed: rpc.ExecutedUnknown},
		{name: "session lost after the request arrived", hit: func(r *rig) { r.conn.Fail(conntest.LoseAfterPublish(1)) },
			code: rpc.Unavailable, executed: rpc.ExecutedUnknown},

		// The broker's verdict.
		{name: "returned", hit: func(r *rig) {
			r.stop()
			s, err := r.conn.Session(context.Background())
			if err != nil {
				r.t.Fatal(err)
			}
			s.DeleteQueue(context.Background(), "rabbitrpc.math")
		}, code: rpc.Unavailable, executed: rpc.ExecutedNo, is: client.ErrNoServer},
		{name: "negative confirm", opts: []client.CallOption{client.Durable(), client.WithoutRetry()},
			hit:  func(r *rig) { r.conn.Fail(conntest.RefusePublish(1)) },
			code: rpc.ResourceExhausted, executed: rpc.ExecutedNo},
		{name: "session lost before the confirm", opts: []client.CallOption{client.Durable()},
			hit:  func(r *rig) { r.conn.Fail(conntest.LoseAfterPublish(1)) },
			code: rpc.Unavailable, executed: rpc.ExecutedUnknown},
		{name: "confirm never comes, the reply does", opts: []client.CallOption{client.Durable()},
			hit:  func(r *rig) { r.conn.Fail(conntest.DropConfirm(1)) },
			code: rpc.OK, executed: rpc.ExecutedYes},
		{name: "expired in the queue", hit: func(r *rig) { r.stop() }, code: rpc.DeadlineExceeded, executed: rpc.ExecutedUnknown},
		{name: "queue is full", hit: func(r *rig) {
			for range 16 + 1 { // for the workers, and the queue
				go client.Call(context.Background(), r.client, double, 60_000, client.WithoutRetry())
				time.Sleep(time.Millisecond) // each is in its place before the next
			}
		}, code: rpc.ResourceExhausted, executed: rpc.ExecutedUnknown},
		{name: "expired on disk", opts: []client.CallOption{client.Durable()}, hit: func(r *rig) { r.stop() },
			code: rpc.DeadlineExceeded, executed: rpc.ExecutedUnknown},

		// The server's answer, or none.
		{name: "deadline", handler: slow(time.Minute), code: rpc.DeadlineExceeded, executed: rpc.ExecutedUnknown},
		{name: "handler says no", handler: func(context.Context, int) (int, error) {
			return 0, rpc.Errorf(rpc.FailedPrecondition, "closed on Sundays")
		}, code: rpc.FailedPrecondition, executed: rpc.ExecutedYes},
		{name: "handler promises that nothing happened", opts: []client.CallOption{client.WithoutRetry()},
			handler: func(context.Context, int) (int, error) {
				return 0, rpc.Errorf(rpc.Aborted, "lost a race").WithExecuted(rpc.ExecutedNo)
			}, code: rpc.Aborted, executed: rpc.ExecutedNo},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				first := true
				_, r.stop = r.serve(r.broker.Connector("server"), func(ctx context.Context, n int) (int, error) {
					if first {
						first = false
						return 2 * n, nil
					}
					if n == 60_000 {
						time.Sleep(time.Minute)
					}
					if tt.handler != nil {
						return tt.handler(ctx, n)
					}
					return 2 * n, nil
				}, server.WithDrain(time.Hour), server.WithMaxQueue(1))
				r.mustCall(0)
				if tt.hit != nil {
					tt.hit(r)
				}
				ctx := tt.ctx
				if ctx == nil {
					ctx = context.Background()
				}
				_, err := client.Call(ctx, r.client, double, 1, append([]client.CallOption{client.AtMostOnce()}, tt.opts...)...)
				if tt.is == nil {
					check(t, err, tt.code, tt.executed)
				} else {
					check(t, err, tt.code, tt.executed, tt.is)
				}
				if err != nil && errors.Is(err, rpc.ErrNoAnswer) == remote(err) {
					t.Errorf("%v: want either an answer of the server, or ErrNoAnswer", err)
				}
				r.broker.Unblock()
				r.broker.Start()
			})
		})
	}
}

func remote(err error) bool {
	var e *rpc.Error
	return errors.As(err, &e) && e.Remote
}

package server_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Who ends the goroutine that a request is answered on, as FailNow of a test does, has its caller told, and costs no worker.
func TestGoexit(t *testing.T) {
	exit := func() { runtime.Goexit() }
	for name, opts := range map[string][]server.Option{
		"handler":           nil,
		"handler, no store": {server.WithStore(nil)},
		"handler, and a hook that is told of it": {server.WithHooks(server.Hooks{RequestEnded: func(_ context.Context, e server.RequestEnded) {
			if e.Err != nil {
				exit()
			}
		}})},
		"interceptor": {server.WithInterceptors(func(next rpc.Handler) rpc.Handler {
			return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
				if string(r.Body) == "0" {
					exit()
				}
				return next(ctx, r)
			}
		})},
		"authorizer": {server.WithAuthorizer(func(_ context.Context, r *rpc.Request) error {
			if string(r.Body) == "0" {
				exit()
			}
			return nil
		})},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, func(_ context.Context, n int) (int, error) {
					if n == 0 {
						exit()
					}
					return 2 * n, nil
				}, append(opts, server.WithWorkers(2))...)
				start := time.Now()
				for i := range 3 { // more than there are workers
					_, err := r.ask(r.request("0"))
					check(t, err, rpc.Internal, rpc.ExecutedUnknown)
					if !strings.Contains(fmt.Sprint(err), "ended its goroutine") {
						t.Errorf("request %d: got %v", i, err)
					}
				}
				r.mustAnswer()
				took(t, start, 0)
				if !strings.Contains(r.log.String(), "goexit_test.go") {
					t.Errorf("said: %s, want where it was", r.log)
				}
				if s := p.Stats(); s.Running != 0 || s.Panics != 3 || s.Failed != 3 || unacked(r) != 0 {
					t.Errorf("%+v, %d unacknowledged", s, unacked(r))
				}
			})
		})
	}
}

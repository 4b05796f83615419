package client_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Only calls that are many, and that each take long, are in bulk.
func TestBulk(t *testing.T) {
	for name, c := range map[string]struct {
		callers int
		takes   time.Duration
		bulk    bool
	}{
		"many, and long":     {256, 10 * time.Millisecond, true},
		"few, and long":      {16, 10 * time.Millisecond, false},
		"many, and short":    {256, time.Millisecond, false},
		"many, but too long": {256, 100 * time.Millisecond, false}, // two or three end in a millisecond
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests, inBulk, gathers atomic.Int64
				r := newRig(t, func(c conn.Connector) conn.Connector {
					return &hooked{Connector: c, gather: func(wait time.Duration) {
						if gathers.Add(1); wait != 2*time.Millisecond {
							t.Errorf("waits %v, want a fifth of what a call takes", wait)
						}
					},
						publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
							if requests.Add(1); wire.Gather(m) > 0 {
								inBulk.Add(1)
							}
							return p.Publish(m, confirmed)
						}}
				})
				r.serve(r.broker.Connector("server"), slow(c.takes), server.WithWorkers(512))
				call := func(callers int) {
					var wg sync.WaitGroup
					for range callers {
						wg.Go(func() {
							for range 10 {
								r.mustCall(21)
							}
						})
					}
					wg.Wait()
				}
				call(c.callers)
				if n := inBulk.Load(); c.bulk != (n > requests.Load()/2) || !c.bulk && n > 0 || (n > 0) != (gathers.Load() > 0) {
					t.Errorf("%d of %d requests were in bulk, and the session gathered %d times", n, requests.Load(), gathers.Load())
				}
				before := inBulk.Load()
				call(1)
				if n := inBulk.Load() - before; n > 1 { // the first knows nothing better yet
					t.Errorf("%d requests of one caller were in bulk after that", n)
				}
			})
		})
	}
}

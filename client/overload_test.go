package client_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Five times as much as the servers can do: what they can do is still done in time, and the client does not add to it.
func TestOverload(t *testing.T) {
	const workers, work, offered = 8, 20 * time.Millisecond, 5 * 8 * 50 // calls per second
	for name, timeout := range map[string]time.Duration{"patient": time.Second, "impatient": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			var attempts, calls, ok atomic.Int64
			count := client.WithHooks(client.Hooks{CallEnded: func(e client.CallEnded) {
				calls.Add(1)
				attempts.Add(int64(e.Attempts))
				if e.Err == nil {
					ok.Add(1)
				}
			}})
			inBubble(t, func(t *testing.T, r *rig) {
				r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
					time.Sleep(work)
					return 2 * n, nil
				}, server.WithWorkers(workers))
				r.mustCall(0)
				var wg sync.WaitGroup
				for range 10 * offered { // for ten seconds
					wg.Go(func() { r.call(t.Context(), 1) })
					time.Sleep(time.Second / offered)
				}
				wg.Wait()
			}, client.WithTimeout(timeout), count)
			goodput := float64(ok.Load()) / (10 * offered / 5)
			amplification := float64(attempts.Load()) / float64(calls.Load())
			t.Logf("goodput %.0f%%, %.2f attempts for each call", 100*goodput, amplification)
			if goodput < 0.8 || amplification > 1.1 {
				t.Errorf("goodput %.0f%%, %.2f attempts for each call, want at least 80%% and at most 1.1", 100*goodput, amplification)
			}
		})
	}
}

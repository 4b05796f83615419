package endtoend

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// SIGTERM to one of two servers, again and again, under load: no caller sees an error, and none has to send a call twice
// that had begun.
func TestDrainUnderLoad(t *testing.T) {
	const callers = 64
	url := testbroker.URL(t)
	m := open(t, url)
	method := service(t, m)
	c := newClient(t, m, client.WithTimeout(30*time.Second))
	sp := spec{URL: url, Service: method.Service, Work: 5 * time.Millisecond}
	leaver, other := start(t, sp), start(t, sp)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls atomic.Int64
	for i := range callers {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n += callers {
				if got, err := client.Call(t.Context(), c, method, n); got != 2*n || err != nil {
					t.Errorf("got %d, %v, want %d", got, err, 2*n)
				}
				calls.Add(1)
			}
		})
	}
	drains := times(t, 5)
	for range drains {
		before := calls.Load()
		wait(t, "calls to end", func() bool { return calls.Load() > before+2*callers })
		must(t, leaver.Process.Signal(syscall.SIGTERM))
		leaver.wait()
		if leaver.err != nil {
			t.Errorf("server process ended with %v", leaver.err)
		}
		leaver, other = other, start(t, sp)
	}
	stop()
	wg.Wait()
	t.Logf("%d drains, %d calls, all ok", drains, calls.Load())
}

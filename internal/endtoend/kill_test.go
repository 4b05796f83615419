package endtoend

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// times is how often a test does its deed: often enough to see that it works, or as often as RABBITRPC_TIMES says.
func times(t *testing.T, usual int) int {
	t.Helper()
	s := os.Getenv("RABBITRPC_TIMES")
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(p*float64(len(d))))]
}

// underLoad has callers call double without a pause, each time to be answered well, until it is stopped; stop returns how
// many calls there were. More waits until each caller has made about two calls.
func underLoad(t *testing.T, c *client.Client, method rpc.Method[int, int], callers int) (more func(), stop func() int64) {
	ctx, cancel := context.WithCancel(t.Context())
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
	more = func() {
		t.Helper()
		before := calls.Load()
		wait(t, "calls to end", func() bool { return calls.Load() > before+int64(2*callers) })
	}
	return more, func() int64 { cancel(); wg.Wait(); return calls.Load() }
}

// One of two servers is killed, again and again, under load: each call ends well, and those that were with the dead are
// answered by the other one soon.
func TestServersKilled(t *testing.T) {
	url := testbroker.URL(t)
	m := open(t, url)
	method := service(t, m)
	var mu sync.Mutex
	var usual, again []time.Duration // what calls took that were sent once, and more than once
	c := newClient(t, m, client.WithTimeout(30*time.Second), client.WithHooks(client.Hooks{CallEnded: func(_ context.Context, e client.CallEnded) {
		mu.Lock()
		defer mu.Unlock()
		if e.Attempts > 1 {
			again = append(again, e.Took)
		} else {
			usual = append(usual, e.Took)
		}
	}}))
	sp := spec{URL: url, Service: method.Service, Work: 5 * time.Millisecond}
	victim, other := start(t, sp), start(t, sp)
	more, stop := underLoad(t, c, method, 64)
	kills := times(t, 5)
	for range kills {
		more()
		must(t, victim.Process.Kill())
		more() // with the other one alone
		victim, other = other, start(t, sp)
	}
	calls := stop()
	mu.Lock()
	defer mu.Unlock()
	if len(again) == 0 {
		t.Error("no call was sent again: the test shows nothing")
	}
	t.Logf("%d kills, %d calls, all ok, p50 %v p99 %v; %d sent again, p50 %v p99 %v", kills, calls,
		percentile(usual, .5), percentile(usual, .99), len(again), percentile(again, .5), percentile(again, .99))
}

package endtoend

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// long skips a test that takes minutes, unless they were asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("takes minutes: run make test-long")
	}
}

// The broker is away for a minute while the load goes on: calls fail fast with the right code, nothing piles up, nobody
// storms the broker, and it is used again as soon as it is back.
func TestOutage(t *testing.T) {
	long(t)
	n := testbroker.OwnNode(t)
	var dials atomic.Int64
	m := open(t, n.URL(), conn.WithBackoff(100*time.Millisecond, 15*time.Second), conn.WithDialer(
		func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}))
	method := service(t, m)
	serve(t, open(t, n.URL(), conn.WithBackoff(100*time.Millisecond, 15*time.Second)), method, double)
	c := newClient(t, m, client.WithTimeout(time.Second))
	_, err := client.Call(t.Context(), c, method, 1)
	must(t, err)
	must(t, n.Kill())

	const outage, rate = time.Minute, 10_000
	dialsBefore := dials.Load()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []time.Duration // how long calls took behind the open breaker
	codes := make(map[rpc.Code]int)
	var memory []uint64
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for offered := 0; time.Since(start) < outage; <-tick.C {
		for ; offered < int(time.Since(start).Seconds()*rate); offered++ {
			wg.Go(func() {
				start := time.Now()
				_, err := client.Call(t.Context(), c, method, 1)
				took := time.Since(start)
				mu.Lock()
				defer mu.Unlock()
				codes[rpc.CodeOf(err)]++
				if errors.Is(err, client.ErrBreakerOpen) {
					open = append(open, took)
				}
				if rpc.Executed(err) != rpc.ExecutedNo {
					t.Errorf("got %v, executed %v", err, rpc.Executed(err))
				}
			})
		}
		if len(memory) < int(time.Since(start)/(10*time.Second)) {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			memory = append(memory, s.HeapInuse>>20)
		}
	}
	wg.Wait()
	t.Logf("calls by code: %v; behind the open breaker p50 %v p99 %v; MiB of heap every 10s: %v; %d dials",
		codes, percentile(open, .5), percentile(open, .99), memory, dials.Load()-dialsBefore)
	if len(codes) != 1 || codes[rpc.Unavailable] == 0 {
		t.Errorf("got codes %v, want only unavailable", codes)
	}
	if last, most := memory[len(memory)-1], uint64(512); last > most {
		t.Errorf("%d MiB of heap, want at most %d", last, most)
	}
	if d := dials.Load() - dialsBefore; d > 2*int64(outage/(150*time.Millisecond)) {
		t.Errorf("%d dials in %v", d, outage)
	}
	must(t, n.Start(t.Context()))
	back := time.Now()
	for err = errors.New("not called"); err != nil; {
		if _, err = client.Call(t.Context(), c, method, 1, client.WaitForServer()); time.Since(back) > 20*time.Second {
			t.Fatalf("20s after the broker is back: %v", err)
		}
	}
	t.Logf("first answer %v after the broker was back", time.Since(back))
}

// The time from the moment that a killed broker listens again to the first answer.
func TestBrokerComesBack(t *testing.T) {
	long(t)
	n := testbroker.OwnNode(t)
	u, err := url.Parse(n.URL())
	must(t, err)
	backoff := conn.WithBackoff(100*time.Millisecond, 15*time.Second) // the default
	m := open(t, n.URL(), backoff)
	method := service(t, m)
	serve(t, open(t, n.URL(), backoff), method, double)
	c := newClient(t, m, client.WithTimeout(time.Minute))
	_, err = client.Call(t.Context(), c, method, 1)
	must(t, err)
	var took []time.Duration
	for range times(t, 9) {
		must(t, n.Kill())
		answered := make(chan time.Time, 1)
		go func() {
			if _, err := client.Call(t.Context(), c, method, 1); err != nil {
				t.Errorf("got %v", err)
			}
			answered <- time.Now()
		}()
		listens := make(chan time.Time, 1)
		go func() {
			for {
				if c, err := net.DialTimeout("tcp", u.Host, time.Second); err == nil {
					c.Close()
					listens <- time.Now()
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
		must(t, n.Start(t.Context()))
		took = append(took, (<-answered).Sub(<-listens))
		time.Sleep(6 * time.Second) // a session that lived shorter than that makes the next dial wait longer
	}
	t.Logf("from the broker's listening to the first answer: %v, median %v", took, median(took))
}

// A crowd of callers is served in turn: bounded memory, and no error.
func TestCrowd(t *testing.T) {
	long(t)
	const crowd = 50_000
	m := open(t, testbroker.URL(t))
	method := service(t, m)
	release := make(chan struct{})
	ms := open(t, testbroker.URL(t))
	serve(t, ms, method, func(ctx context.Context, n int) (int, error) {
		<-release
		return 2 * n, nil
	}, server.WithWorkers(64))
	c := newClient(t, m, client.WithTimeout(5*time.Minute), client.WithMaxInFlight(crowd))
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapInuse + s.StackInuse
	}
	before := heap()
	var wg sync.WaitGroup
	for n := range crowd {
		wg.Go(func() {
			if got, err := client.Call(t.Context(), c, method, n); got != 2*n || err != nil {
				t.Errorf("got %d, %v, want %d", got, err, 2*n)
			}
		})
	}
	s, err := m.Session(t.Context())
	must(t, err)
	wait(t, "all calls to be in flight", func() bool {
		q, err := s.InspectQueue(t.Context(), "rabbitrpc."+method.Service)
		return err == nil && q.Messages >= crowd-64-64
	})
	each := (heap() - before) / crowd
	close(release)
	wg.Wait()
	t.Logf("%d calls in flight took %d bytes each, the callers' stacks included", crowd, each)
	if each > 16<<10 {
		t.Errorf("%d bytes for each call in flight", each)
	}
}

// Five times as much as the servers can do: what they can do is still done in time, and the clients do not add to it.
func TestOverload(t *testing.T) {
	long(t)
	const workers, work = 8, 20 * time.Millisecond
	url := testbroker.URL(t)
	ms, mc := open(t, url), open(t, url)
	method := service(t, ms)
	serve(t, ms, method, func(_ context.Context, n int) (int, error) {
		time.Sleep(work)
		return 2 * n, nil
	}, server.WithWorkers(workers))
	var attempts, calls atomic.Int64
	c := newClient(t, mc, client.WithTimeout(time.Second), client.WithHooks(client.Hooks{
		CallEnded: func(_ context.Context, e client.CallEnded) {
			calls.Add(1)
			attempts.Add(int64(e.Attempts))
		},
	}))
	var wg sync.WaitGroup
	var ok atomic.Int64
	const measure = 2 * time.Second
	start := time.Now()
	for range workers { // what the servers can do on this machine
		wg.Go(func() {
			for n := 0; time.Since(start) < measure; n++ {
				_, err := client.Call(t.Context(), c, method, n)
				if ok.Add(1); err != nil {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	capacity := float64(ok.Load()) / measure.Seconds()
	attempts.Store(0)
	calls.Store(0)
	ok.Store(0)
	const load = 5 * time.Second
	start = time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for offered := 0; time.Since(start) < load; <-tick.C {
		for ; offered < int(time.Since(start).Seconds()*5*capacity); offered++ {
			n := offered
			wg.Go(func() {
				if got, err := client.Call(t.Context(), c, method, n); err == nil && got == 2*n {
					ok.Add(1)
				}
			})
		}
	}
	wg.Wait()
	goodput := float64(ok.Load()) / (capacity * load.Seconds())
	amplification := float64(attempts.Load()) / float64(calls.Load())
	t.Logf("capacity %.0f calls/s, offered five times that; %d of %d calls answered in time, %.0f%% of the capacity; %.2f attempts for each call", capacity, ok.Load(), calls.Load(), 100*goodput, amplification)
	if goodput < 0.8 {
		t.Errorf("%.0f%% of the capacity was used, want at least 80%%", 100*goodput)
	}
	if amplification > 1.1 {
		t.Errorf("%.2f attempts for each call, want at most 1.1", amplification)
	}
}

// Package endtoend tests client and server together over a real broker.
package endtoend

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

var quiet = slog.New(slog.DiscardHandler)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, url string, opts ...conn.Option) *conn.Manager {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := conn.Open(ctx, url, append([]conn.Option{
		conn.WithLogger(quiet), conn.WithBackoff(time.Millisecond, 20*time.Millisecond),
	}, opts...)...)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		m.Close(ctx)
	})
	return m
}

func newClient(t *testing.T, c conn.Connector, opts ...client.Option) *client.Client {
	t.Helper()
	cl, err := client.New(c, opts...)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		cl.Close(ctx)
	})
	return cl
}

// serve runs a server for m until the test ends, or stop is called.
func serve[Req, Res any](t *testing.T, c conn.Connector, m rpc.Method[Req, Res],
	fn func(context.Context, Req) (Res, error), opts ...server.Option) (s *server.Server, stop func()) {
	t.Helper()
	s, err := server.New(c, m.Service, append([]server.Option{server.WithLogger(quiet)}, opts...)...)
	must(t, err)
	server.Handle(s, m, fn)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("server is not ready")
	}
	return s, stop
}

// service makes a method of a service of the test's own, and removes its queue in the end.
func service(t *testing.T, m *conn.Manager) rpc.Method[int, int] {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z' {
			return '-'
		}
		return r
	}, t.Name())
	name = name[max(0, len(name)-100):]
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if s, err := m.Session(ctx); err == nil {
			s.DeleteQueue(ctx, wire.Queue(name))
		}
	})
	return rpc.Method[int, int]{Service: name, Name: "double"}
}

func double(_ context.Context, n int) (int, error) { return 2 * n, nil }

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func messages(t *testing.T, m *conn.Manager, queue string) int {
	t.Helper()
	s, err := m.Session(t.Context())
	must(t, err)
	info, err := s.InspectQueue(t.Context(), queue)
	must(t, err)
	return info.Messages
}

func TestCall(t *testing.T) {
	m := open(t, testbroker.URL(t))
	method := service(t, m)
	serve(t, m, method, double)
	c := newClient(t, m)
	for n := range 100 {
		if got, err := client.Call(t.Context(), c, method, n); got != 2*n || err != nil {
			t.Fatalf("got %d, %v, want %d", got, err, 2*n)
		}
	}
}

// Nobody serves: that is known at once, is not executed, and leaves nothing behind, whether or not somebody did before.
func TestNoServer(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []server.Option
	}{{"classic queue", nil}, {"quorum queue", []server.Option{server.WithQuorumQueue(5)}}} {
		t.Run(tt.name, func(t *testing.T) {
			m := open(t, testbroker.URL(t))
			method := service(t, m)
			c := newClient(t, m)
			absent(t, c, method) // no such service
			_, stop := serve(t, m, method, double, tt.opts...)
			if got, err := call(t, c, method, 1); got != 2 || err != nil {
				t.Fatalf("got %d, %v, want 2", got, err)
			}
			stop()
			absent(t, c, method)
			if n := messages(t, m, wire.Queue(method.Service)); n != 0 {
				t.Errorf("%d messages are left in the queue", n)
			}
			_, _ = serve(t, m, method, double, tt.opts...)
			if got, err := call(t, c, method, 1); got != 2 || err != nil {
				t.Errorf("after the server came back: got %d, %v, want 2", got, err)
			}
		})
	}
}

// call is for a service that may be known as absent from a moment ago.
func call(t *testing.T, c *client.Client, m rpc.Method[int, int], n int) (got int, err error) {
	t.Helper()
	for range 40 {
		if got, err = client.Call(t.Context(), c, m, n); !errors.Is(err, client.ErrNoServer) {
			return got, err
		}
		time.Sleep(10 * time.Millisecond) // what is known of an absent service lasts 100ms
	}
	return got, err
}

func absent(t *testing.T, c *client.Client, m rpc.Method[int, int]) {
	t.Helper()
	client.Call(t.Context(), c, m, 1) // the first sets up the reply queue
	var took []time.Duration
	for range 200 {
		start := time.Now()
		_, err := client.Call(t.Context(), c, m, 1)
		took = append(took, time.Since(start))
		if rpc.CodeOf(err) != rpc.Unavailable || !errors.Is(err, client.ErrNoServer) {
			t.Fatalf("got %v, want unavailable, no server", err)
		}
		if x := rpc.Executed(err); x == rpc.ExecutedYes {
			t.Errorf("executed %v", x)
		}
	}
	t.Logf("no server: p50 %v p99 %v", percentile(took, .5), percentile(took, .99))
	if m := median(took); m > 20*time.Millisecond {
		t.Errorf("the median of the calls took %v, want at most 20ms", m)
	}
}

// Sessions are lost all the time, under load: each call ends well, none twice, and nothing piles up.
func TestReconnectStorm(t *testing.T) {
	const callers = 8
	reconnects := 500
	if testing.Short() {
		reconnects = 200
	}
	url := testbroker.URL(t)
	clientSide, serverSide := proxy(t, url), proxy(t, url)
	mc, ms := open(t, clientSide.URL()), open(t, serverSide.URL())
	method := service(t, open(t, url))
	var ran atomic.Int64
	_, _ = serve(t, ms, method, func(ctx context.Context, n int) (int, error) {
		ran.Add(1)
		return 2 * n, nil
	}, server.WithWorkers(callers))
	c := newClient(t, mc, client.WithTimeout(30*time.Second))
	if got, err := client.Call(t.Context(), c, method, 1); got != 2 || err != nil {
		t.Fatalf("got %d, %v, want 2", got, err)
	}
	goroutines, files := runtime.NumGoroutine(), openFiles(t)

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls atomic.Int64
	for n := range callers {
		wg.Go(func() {
			for ; ctx.Err() == nil; n += callers {
				start := time.Now()
				got, err := client.Call(t.Context(), c, method, n)
				if got != 2*n || err != nil {
					t.Errorf("got %d, %v, want %d", got, err, 2*n)
				}
				if d := time.Since(start); d > 31*time.Second {
					t.Errorf("a call took %v", d)
				}
				calls.Add(1)
			}
		})
	}
	for range reconnects / 2 {
		client, err := mc.Session(t.Context())
		must(t, err)
		server, err := ms.Session(t.Context())
		must(t, err)
		before := calls.Load()
		clientSide.Inject(chaos.Reset{})
		serverSide.Inject(chaos.Reset{})
		<-client.Done()
		<-server.Done()
		wait(t, "a call to end", func() bool { return calls.Load() > before })
	}
	stop()
	wg.Wait()
	st := c.Stats()
	t.Logf("%d sessions lost, %d calls, %d sent again, %d handlers ran", reconnects, calls.Load(), st.Resent, ran.Load())
	if st.Resent == 0 {
		t.Error("no call was sent again: the test shows nothing")
	}
	if st.Calls != uint64(ran.Load()) {
		t.Errorf("%d calls ran %d handlers, want one each: they all reached the same process", st.Calls, ran.Load())
	}
	wait(t, "goroutines and files back to the baseline", func() bool {
		return runtime.NumGoroutine() <= goroutines+2 && openFiles(t) <= files+2
	})
}

// A line that is dead without hanging up ends no call late, and is replaced within two heartbeats.
func TestHalfOpen(t *testing.T) {
	url := testbroker.URL(t)
	p := proxy(t, url)
	mc, ms := open(t, p.URL(), conn.WithHeartbeat(time.Second)), open(t, url)
	method := service(t, ms)
	serve(t, ms, method, double)
	c := newClient(t, mc, client.WithTimeout(20*time.Second))
	_, err := client.Call(t.Context(), c, method, 1)
	must(t, err)

	p.Inject(chaos.Stall{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = client.Call(ctx, c, method, 1)
	if rpc.CodeOf(err) != rpc.DeadlineExceeded || rpc.Executed(err) != rpc.ExecutedUnknown {
		t.Errorf("got %v, executed %v, want deadline_exceeded, unknown", err, rpc.Executed(err))
	}
	if d := time.Since(start); d > 400*time.Millisecond {
		t.Errorf("the call ended after %v, 100ms past its deadline", d)
	}
	s, err := mc.Session(t.Context())
	must(t, err)
	select {
	case <-s.Done():
	case <-time.After(2 * time.Second):
		t.Error("the session is still there after two heartbeats")
	}
	p.Heal()
	if got, err := client.Call(t.Context(), c, method, 4); got != 8 || err != nil {
		t.Errorf("got %d, %v, want 8", got, err)
	}
}

// The broker dies under load and comes back: each call whose deadline allows it ends well.
func TestBrokerKilledUnderLoad(t *testing.T) {
	n := testbroker.OwnNode(t)
	mc, ms := open(t, n.URL(), conn.WithBackoff(10*time.Millisecond, 200*time.Millisecond)), open(t, n.URL())
	method := service(t, ms)
	serve(t, ms, method, double)
	c := newClient(t, mc, client.WithTimeout(60*time.Second))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls atomic.Int64
	for i := range 16 {
		wg.Go(func() {
			for ; ctx.Err() == nil; i++ {
				if got, err := client.Call(t.Context(), c, method, i); got != 2*i || err != nil {
					t.Errorf("got %d, %v, want %d", got, err, 2*i)
				}
				calls.Add(1)
			}
		})
	}
	more := func() {
		before := calls.Load()
		wait(t, "calls to end", func() bool { return calls.Load() > before+200 })
	}
	more()
	must(t, n.Kill())
	must(t, n.Start(t.Context()))
	more()
	must(t, n.Restart(t.Context()))
	more()
	stop()
	wg.Wait()
	if st := c.Stats(); st.Resent == 0 {
		t.Errorf("got %+v: no call was sent again, so the test shows nothing", st)
	} else {
		t.Logf("%+v", st)
	}
}

func proxy(t *testing.T, url string) *chaos.Proxy {
	t.Helper()
	p, err := chaos.NewProxy(url)
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(files)
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

package endtoend

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

func benchmarkManager(b *testing.B) *conn.Manager {
	b.Helper()
	m, err := conn.Open(b.Context(), testbroker.URL(b), conn.WithLogger(quiet))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close(context.Background()) })
	return m
}

func benchmarkClient(b *testing.B, m *conn.Manager, opts ...client.Option) *client.Client {
	b.Helper()
	c, err := client.New(m, opts...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// report adds the percentiles of what the operations took.
func report(b *testing.B, took []time.Duration) {
	b.ReportMetric(float64(percentile(took, .5).Microseconds()), "p50-us")
	b.ReportMetric(float64(percentile(took, .99).Microseconds()), "p99-us")
}

// BenchmarkCallInMemory is an echo of 16 bytes over a broker in memory: what all of client and server costs, and nothing of
// AMQP.
func BenchmarkCallInMemory(b *testing.B) {
	broker := conntest.NewBroker()
	defer broker.Close()
	s, err := server.New(broker.Connector("server"), "bench", server.WithLogger(quiet))
	if err != nil {
		b.Fatal(err)
	}
	echo := rpc.Method[[]byte, []byte]{Service: "bench", Name: "echo", ContentType: rpc.ContentTypeBytes}
	server.Handle(s, echo, func(_ context.Context, body []byte) ([]byte, error) { return body, nil })
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer running.Wait()
	defer cancel()
	<-s.Ready()
	c, err := client.New(broker.Connector("client"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(ctx)
	body := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Call(ctx, c, echo, body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall is an echo of 16 bytes, with everything switched on, client and server in one process.
func BenchmarkCall(b *testing.B) {
	ms, mc := benchmarkManager(b), benchmarkManager(b)
	s, err := server.New(ms, "bench", server.WithLogger(quiet), server.WithWorkers(256))
	if err != nil {
		b.Fatal(err)
	}
	echo := rpc.Method[[]byte, []byte]{Service: "bench", Name: "echo", ContentType: rpc.ContentTypeBytes}
	server.Handle(s, echo, func(_ context.Context, body []byte) ([]byte, error) { return body, nil })
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	defer running.Wait()
	defer cancel()
	<-s.Ready()
	for _, mode := range []struct {
		name string
		opts []client.CallOption
	}{{"direct", nil}, {"durable", []client.CallOption{client.Durable()}}} {
		for _, callers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", mode.name, callers), func(b *testing.B) {
				c := benchmarkClient(b, mc)
				body := make([]byte, 16)
				var mu sync.Mutex
				var took []time.Duration
				calls := make(chan struct{}, b.N)
				for range b.N {
					calls <- struct{}{}
				}
				close(calls)
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						var own []time.Duration
						for range calls {
							start := time.Now()
							if _, err := client.Call(ctx, c, echo, body, mode.opts...); err != nil {
								b.Error(err)
							}
							own = append(own, time.Since(start))
						}
						mu.Lock()
						took = append(took, own...)
						mu.Unlock()
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
				report(b, took)
			})
		}
	}
}

// BenchmarkNoServer is the time to know that nobody serves: with a look at the broker each time, since each service is a
// new one; by what is known for the next 50ms; and behind the open breaker.
func BenchmarkNoServer(b *testing.B) {
	m := benchmarkManager(b)
	for _, bb := range []struct {
		name    string
		service func(n int) string
		opts    []client.Option
	}{
		{"look", func(n int) string { return fmt.Sprint("nobody-", n) }, nil},
		{"known", func(int) string { return "nobody" }, []client.Option{client.WithoutBreaker()}},
		{"breaker", func(int) string { return "nobody" }, nil},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := benchmarkClient(b, m, bb.opts...)
			call := func(n int) {
				_, err := c.Do(b.Context(), &rpc.Request{Service: bb.service(n), Method: "x"})
				if rpc.CodeOf(err) != rpc.Unavailable || rpc.Executed(err) != rpc.ExecutedNo {
					b.Fatalf("got %v, executed %v", err, rpc.Executed(err))
				}
			}
			for range 30 { // sets up the reply queue, and opens the breaker
				call(-1)
			}
			var took []time.Duration
			for n := 0; b.Loop(); n++ {
				start := time.Now()
				call(n)
				took = append(took, time.Since(start))
			}
			report(b, took)
		})
	}
}

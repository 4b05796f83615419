//go:build unix

package endtoend

import (
	"context"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/metrics"
	"github.com/rabbitrpc/rabbitrpc/telemetry/tracing"
)

// A watched is how a client and a server are observed.
type watched struct {
	name   string
	client []client.Option
	server []server.Option
}

func watchers(b *testing.B) []watched {
	measured := watched{
		"metrics", []client.Option{client.WithHooks(metrics.NewClient().Hooks())}, []server.Option{server.WithHooks(metrics.NewServer().Hooks())},
	}
	traced := func(name string, s sdk.Sampler) watched {
		provider := sdk.NewTracerProvider(sdk.WithSampler(s), sdk.WithBatcher(discard{}))
		b.Cleanup(func() { provider.Shutdown(context.Background()) })
		with := tracing.WithTracerProvider(provider)
		return watched{
			name, []client.Option{client.WithInterceptors(tracing.Client(with)), client.WithHooks(tracing.Hooks())},
			[]server.Option{server.WithInterceptors(tracing.Server(with))},
		}
	}
	sampledOut, sampled := traced("sampled-out", sdk.NeverSample()), traced("sampled", sdk.AlwaysSample())
	all := watched{"all", append(measured.client, sampled.client...), append(measured.server, sampled.server...)}
	return []watched{{name: "bare"}, measured, sampledOut, sampled, all}
}

// used returns the time that this process has had of the processors.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// discard exports to nowhere.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                        { return nil }

// BenchmarkTelemetry is an echo over a broker in memory, observed in different ways, in turns of a hundred calls: the time of
// the processors, and the allocations, that a call costs both sides.
func BenchmarkTelemetry(b *testing.B) {
	const turn = 100
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	type caller struct {
		watched
		client  *client.Client
		took    time.Duration
		mallocs uint64
	}
	var callers []*caller
	for _, w := range watchers(b) {
		broker := conntest.NewBroker()
		defer broker.Close()
		s, err := server.New(broker.Connector("server"), "bench", append(w.server, server.WithLogger(quiet))...)
		if err != nil {
			b.Fatal(err)
		}
		s.Handle("echo", func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{Body: r.Body}, nil })
		running.Go(func() { s.Run(ctx) })
		<-s.Ready()
		c, err := client.New(broker.Connector("client"), w.client...)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close(context.Background())
		callers = append(callers, &caller{watched: w, client: c})
	}
	request := &rpc.Request{Service: "bench", Method: "echo", Body: make([]byte, 16)}
	var before, after runtime.MemStats
	calls := 0
	for b.Loop() {
		calls += turn
		for _, c := range callers {
			runtime.ReadMemStats(&before)
			start := used()
			for range turn {
				if _, err := c.client.Do(ctx, request); err != nil {
					b.Fatal(err)
				}
			}
			c.took += used() - start
			runtime.ReadMemStats(&after)
			c.mallocs += after.Mallocs - before.Mallocs
		}
	}
	for _, c := range callers {
		b.ReportMetric(float64(c.took.Nanoseconds())/float64(calls), c.name+"-ns")
		b.ReportMetric(float64(c.mallocs)/float64(calls), c.name+"-allocs")
	}
}

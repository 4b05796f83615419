package metrics_test

import (
	"context"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/metrics"
)

// hooked returns what the hooks of both sides do for one call.
func hooked() func(context.Context) {
	request := &rpc.Request{Service: "math", Method: "do"}
	call := client.CallEnded{Request: request, Attempts: 1, Reply: &rpc.Reply{}, Took: time.Millisecond}
	attempt := client.AttemptEnded{Request: request, Mode: "direct", Ending: "replied", Took: time.Millisecond}
	answer := server.RequestEnded{Request: request, Method: "do", Waited: time.Microsecond, Ran: true, Handled: time.Millisecond}
	c, s := metrics.NewClient().Hooks(), metrics.NewServer().Hooks()
	return func(ctx context.Context) {
		c.AttemptEnded(ctx, attempt)
		c.CallEnded(ctx, call)
		s.RequestEnded(ctx, answer)
	}
}

// BenchmarkHooks is what metrics add to a call, on both sides together.
func BenchmarkHooks(b *testing.B) {
	hooks := hooked()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			hooks(b.Context())
		}
	})
	b.Run("all processors", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				hooks(context.Background())
			}
		})
	})
}

func TestHooksAllocateNothing(t *testing.T) {
	hooks := hooked()
	ctx := t.Context()
	hooks(ctx) // what is new is allocated once
	if n := testing.AllocsPerRun(1000, func() { hooks(ctx) }); n != 0 {
		t.Errorf("%v allocations for a call, want none", n)
	}
}

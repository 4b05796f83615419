package rpc_test

import (
	"context"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// BenchmarkChain is a call through five interceptors that do nothing.
func BenchmarkChain(b *testing.B) {
	pass := func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) { return next(ctx, r) }
	}
	reply := new(rpc.Reply)
	h := rpc.Chain(func(context.Context, *rpc.Request) (*rpc.Reply, error) { return reply, nil }, pass, pass, pass, pass, pass)
	r := new(rpc.Request)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

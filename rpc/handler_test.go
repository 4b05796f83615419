package rpc_test

import (
	"context"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestChainBuildsOnce(t *testing.T) {
	built := 0
	h := rpc.Chain(
		func(context.Context, *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{}, nil },
		func(next rpc.Handler) rpc.Handler { built++; return next },
	)
	for range 3 {
		if _, err := h(t.Context(), &rpc.Request{}); err != nil {
			t.Fatal(err)
		}
	}
	if built != 1 {
		t.Errorf("interceptor called %d times, want 1", built)
	}
}

func TestChainPanicsOnNil(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	rpc.Chain(nil, nil)
}

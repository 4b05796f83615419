package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestExecuted(t *testing.T) {
	no := rpc.Errorf(rpc.Unavailable, "absent").WithExecuted(rpc.ExecutedNo)
	tests := []struct {
		name string
		err  error
		want rpc.Execution
	}{
		{"success", nil, rpc.ExecutedYes},
		{"not said", rpc.Errorf(rpc.Internal, "x"), rpc.ExecutedUnknown},
		{"no", no, rpc.ExecutedNo},
		{"no, wrapped", fmt.Errorf("call: %w", no), rpc.ExecutedNo},
		{"the outer error counts", rpc.Errorf(rpc.Internal, "other call: %w", no), rpc.ExecutedUnknown},
		{"foreign", errors.New("x"), rpc.ExecutedUnknown},
		{"context", context.Canceled, rpc.ExecutedUnknown},
		{"nil pointer", (*rpc.Error)(nil), rpc.ExecutedUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rpc.Executed(tt.err); got != tt.want {
				t.Errorf("Executed = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseExecution(t *testing.T) {
	for want, s := range map[rpc.Execution]string{
		rpc.ExecutedUnknown: "unknown", rpc.ExecutedNo: "no", rpc.ExecutedYes: "yes",
	} {
		if got, ok := rpc.ParseExecution(s); got != want || !ok || got.String() != s {
			t.Errorf("ParseExecution(%q) = %v, %t", s, got, ok)
		}
	}
	for _, s := range []string{"", "No", "execution_3"} {
		if got, ok := rpc.ParseExecution(s); got != rpc.ExecutedUnknown || ok {
			t.Errorf("ParseExecution(%q) = %v, %t, want unknown, false", s, got, ok)
		}
	}
}

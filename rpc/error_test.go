package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestErrorf(t *testing.T) {
	tests := []struct {
		name  string
		err   *rpc.Error
		want  string
		cause []error
	}{
		{"plain", rpc.Errorf(rpc.Unavailable, "no server for %s", "math"), "unavailable: no server for math", nil},
		{"one cause", rpc.Errorf(rpc.Internal, "read: %w", io.EOF), "internal: read: EOF", []error{io.EOF}},
		{
			"two causes", rpc.Errorf(rpc.Internal, "%w, %w", io.EOF, io.ErrNoProgress),
			"internal: EOF, " + io.ErrNoProgress.Error(), []error{io.EOF, io.ErrNoProgress},
		},
		{"hidden cause", rpc.Errorf(rpc.Internal, "read").WithCause(io.EOF), "internal: read", []error{io.EOF}},
		{"no message", rpc.Errorf(rpc.Aborted, ""), "aborted", nil},
		{"OK is no error", rpc.Errorf(rpc.OK, "x"), "unknown: x", nil},
		{"no such code", rpc.Errorf(17, "x"), "unknown: x", nil},
		{"OK set by hand", &rpc.Error{Message: "x"}, "unknown: x", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("Error() = %q, want %q", got, tt.want)
			}
			for _, cause := range tt.cause {
				if !errors.Is(tt.err, cause) {
					t.Errorf("errors.Is(%v) = false, want true", cause)
				}
			}
			if tt.cause == nil && tt.err.Unwrap() != nil {
				t.Errorf("Unwrap() = %v, want nil", tt.err.Unwrap())
			}
		})
	}
}

func TestCodeOf(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want rpc.Code
	}{
		{"nil", nil, rpc.OK},
		{"coded", rpc.Errorf(rpc.NotFound, "x"), rpc.NotFound},
		{"coded, wrapped", fmt.Errorf("call: %w", rpc.Errorf(rpc.NotFound, "x")), rpc.NotFound},
		{"the outer code counts", rpc.Errorf(rpc.Internal, "%w", rpc.Errorf(rpc.NotFound, "x")), rpc.Internal},
		{"coded deadline", rpc.Errorf(rpc.Unavailable, "%w", context.DeadlineExceeded), rpc.Unavailable},
		{"deadline", fmt.Errorf("read: %w", context.DeadlineExceeded), rpc.DeadlineExceeded},
		{"canceled", context.Canceled, rpc.Canceled},
		{"foreign", io.EOF, rpc.Unknown},
		{"OK set by hand", &rpc.Error{}, rpc.Unknown},
		{"no such code", &rpc.Error{Code: 200}, rpc.Unknown},
		{"nil pointer", (*rpc.Error)(nil), rpc.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rpc.CodeOf(tt.err); got != tt.want {
				t.Errorf("CodeOf = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWithCopies(t *testing.T) {
	base := rpc.Errorf(rpc.Aborted, "x: %w", io.EOF)
	got := base.WithDetails([]int{1}).WithRetryAfter(time.Second).WithExecuted(rpc.ExecutedNo).WithCause(io.ErrNoProgress)
	if string(got.Details) != "[1]" || got.RetryAfter != time.Second || got.Executed != rpc.ExecutedNo ||
		!errors.Is(got, io.ErrNoProgress) || errors.Is(got, io.EOF) {
		t.Errorf("copy = %+v", got)
	}
	if base.Details != nil || base.RetryAfter != 0 || base.Executed != rpc.ExecutedUnknown || !errors.Is(base, io.EOF) {
		t.Errorf("the original changed: %+v", base)
	}
	if got := base.WithRetryAfter(-1).RetryAfter; got != 0 {
		t.Errorf("RetryAfter = %v, want 0", got)
	}
	if got := got.WithDetails(nil).Details; got != nil {
		t.Errorf("Details = %s, want nil", got)
	}
}

func TestWithDetailsWithoutJSON(t *testing.T) {
	got := rpc.Errorf(rpc.Aborted, "x").WithDetails(make(chan int)).Details
	if want := `"details lost: chan int has no JSON form"`; string(got) != want || !json.Valid(got) {
		t.Errorf("Details = %s, want %s", got, want)
	}
}

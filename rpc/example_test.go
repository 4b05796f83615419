package rpc_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func ExampleErrorf() {
	err := rpc.Errorf(rpc.InvalidArgument, "n must be 0 to 93, got %d", 100)
	fmt.Println(err)
	fmt.Println(rpc.CodeOf(err).Retryable())
	// Output:
	// invalid_argument: n must be 0 to 93, got 100
	// false
}

// The cause is for this process. Its text would cross the wire with %w.
func ExampleError_WithCause() {
	err := rpc.Errorf(rpc.Internal, "cannot read the account").WithCause(io.ErrUnexpectedEOF)
	fmt.Println(err)
	fmt.Println(err.Unwrap())
	// Output:
	// internal: cannot read the account
	// unexpected EOF
}

func ExampleError_WithDetails() {
	err := rpc.Errorf(rpc.ResourceExhausted, "quota of calls reached").
		WithDetails(map[string]int{"quota": 100}).
		WithRetryAfter(time.Minute)
	fmt.Printf("%s, again in %v\n", err.Details, err.RetryAfter)
	// Output: {"quota":100}, again in 1m0s
}

func ExampleExecuted() {
	absent := rpc.Errorf(rpc.Unavailable, "no server for math").WithExecuted(rpc.ExecutedNo)
	fmt.Println(rpc.Executed(nil))
	fmt.Println(rpc.Executed(fmt.Errorf("pay: %w", absent)))
	fmt.Println(rpc.Executed(context.DeadlineExceeded))
	// Output:
	// yes
	// no
	// unknown
}

func ExampleChain() {
	say := func(name string) rpc.Interceptor {
		return func(next rpc.Handler) rpc.Handler {
			return func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
				fmt.Println(name, "before")
				reply, err := next(ctx, req)
				fmt.Println(name, "after")
				return reply, err
			}
		}
	}
	h := rpc.Chain(func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		fmt.Println("handler")
		return &rpc.Reply{}, nil
	}, say("outer"), say("inner"))
	if _, err := h(context.Background(), &rpc.Request{Service: "math", Method: "fib"}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// outer before
	// inner before
	// handler
	// inner after
	// outer after
}

func ExampleMethod() {
	var fib = rpc.Method[int, uint64]{Service: "math", Name: "fib", ContentType: rpc.ContentTypeText}

	body, err := rpc.Marshal(fib.ContentType, 30)
	fmt.Printf("%s %v\n", body, err)
	n, err := rpc.Unmarshal[int](fib.ContentType, body)
	fmt.Println(n, err)
	// Output:
	// 30 <nil>
	// 30 <nil>
}

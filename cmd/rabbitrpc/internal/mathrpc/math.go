// Package mathrpc is the service that the command serves and that its demo calls.
package mathrpc

import (
	"context"
	"log/slog"

	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Service is the name of the service.
const Service = "math"

// Fib answers n with the n-th Fibonacci number.
var Fib = rpc.Method[int, uint64]{Service: Service, Name: "fib", Doc: "The n-th Fibonacci number, for n from 0 to 93."}

// MaxN is the greatest n whose Fibonacci number is a uint64.
const MaxN = 93

// Kind is the kind of service that answers [Fib], by whatever name.
type Kind struct{}

// Check finds nothing wrong: there is nothing to set.
func (*Kind) Check() error { return nil }

// Methods returns the name of the one method.
func (*Kind) Methods() []string { return []string{Fib.Name} }

// Serve makes s answer.
func (*Kind) Serve(s *server.Server, _ *slog.Logger) (func(), error) {
	Register(s)
	return func() {}, nil
}

// Register makes s answer [Fib], whatever the name of its service.
func Register(s *server.Server) {
	m := Fib
	m.Service = s.Service()
	server.Handle(s, m, func(_ context.Context, n int) (uint64, error) { return Fibonacci(n) })
}

// Fibonacci returns the n-th Fibonacci number, exactly. If n is not 0 to [MaxN] it returns InvalidArgument.
func Fibonacci(n int) (uint64, error) {
	if n < 0 || n > MaxN {
		return 0, rpc.Errorf(rpc.InvalidArgument, "n must be 0 to %d, got %d", MaxN, n).WithExecuted(rpc.ExecutedNo)
	}
	a, b := uint64(0), uint64(1)
	for range n {
		a, b = b, a+b // for n of MaxN, b overflows in the end, and is not used
	}
	return a, nil
}

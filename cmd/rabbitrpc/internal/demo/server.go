package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/mathrpc"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// slow is Fib at leisure, so that something can happen in the middle of a call.
var slow = rpc.Method[int, uint64]{Service: mathrpc.Service, Name: "slow"}

const slowFor = time.Second

// What a server says to the demo, one line each.
const (
	sayReady = "ready"
	sayRun   = "run" // and the n of a slow call
)

// Serve is the server of the demo, in a process of its own. It ends when standard input does: with the demo.
func Serve(ctx context.Context, name, url string, log *slog.Logger) error {
	signal.Ignore(syscall.SIGINT) // a terminal sends Ctrl-C to all its processes; the demo decides
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0) // nothing is worth an orderly end any more
	}()
	m, err := conn.Open(ctx, url, conn.WithName(name), conn.WithLogger(log), conn.WithBackoff(minBackoff, maxBackoff))
	if err != nil {
		return err
	}
	s, err := server.New(m, mathrpc.Service, server.WithName(name), server.WithWorkers(2*callers), server.WithLogger(log))
	if err != nil {
		return err
	}
	mathrpc.Register(s)
	server.Handle(s, slow, func(_ context.Context, n int) (uint64, error) {
		fmt.Println(sayRun, n)
		time.Sleep(slowFor)
		return mathrpc.Fibonacci(n)
	})
	go func() {
		<-s.Ready()
		fmt.Println(sayReady)
	}()
	return s.Run(ctx)
}

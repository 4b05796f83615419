package bench

import (
	"context"
	"io"
	"log/slog"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/signal"
	"syscall"
)

// Work is a process that is a client or a server of the benchmark, as the process that has started it asks for on standard
// input. It returns when that closes its end, or is gone.
func Work(ctx context.Context, url string, log *slog.Logger) error {
	signal.Ignore(syscall.SIGINT) // a terminal sends Ctrl-C to all its processes; the one that measures decides
	answers := os.Stdout
	os.Stdout = os.Stderr // nothing else may get among the answers
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &worker{ctx: ctx, url: url, log: log}
	s := rpc.NewServer()
	for name, service := range map[string]any{"Client": &clientWorker{worker: w}, "Server": &serverWorker{worker: w}} {
		if err := s.RegisterName(name, service); err != nil {
			return err
		}
	}
	s.ServeCodec(jsonrpc.NewServerCodec(stdio{os.Stdin, answers}))
	return nil
}

type stdio struct {
	io.Reader
	io.WriteCloser
}

// A worker is what both roles have in common.
type worker struct {
	ctx context.Context // of the process
	url string
	log *slog.Logger
}

// Nothing is what a method takes or answers that has nothing to say.
type Nothing struct{}

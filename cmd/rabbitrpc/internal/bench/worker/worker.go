// Package worker is the processes that take part in a benchmark: the clients and the servers of its sides.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/signal"
	"syscall"
)

// Run is a process that is a client or a server of the benchmark, as the one that has started it asks on standard input. It
// returns when that closes its end, or is gone.
func Run(ctx context.Context, url string, log *slog.Logger) error {
	// A terminal sends Ctrl-C to all its processes; the one that measures decides. If that is killed, an answer to it must not
	// end this one before its queues are deleted.
	signal.Ignore(syscall.SIGINT, syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := worker{ctx, url, log}
	client, server := &clientWorker{worker: w}, &serverWorker{worker: w}
	s := rpc.NewServer()
	if err := errors.Join(s.RegisterName("Client", client), s.RegisterName("Server", server)); err != nil {
		return err
	}
	s.ServeCodec(jsonrpc.NewServerCodec(stdio{end: cancel}))
	return server.close() // if it was not asked to: nothing is to stay in somebody's broker
}

// A worker is what both roles know. The methods that net/rpc finds have no context of their own.
type worker struct {
	ctx context.Context // ends when nobody asks any more
	url string
	log *slog.Logger
}

// A stdio is the standard input and output. It ends what goes on when nobody is there any more.
type stdio struct{ end func() }

func (s stdio) Read(p []byte) (int, error) {
	n, err := os.Stdin.Read(p)
	if err != nil {
		s.end()
	}
	return n, err
}

func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (stdio) Close() error                { return nil }

// Nothing is what a method takes or answers that has nothing to say.
type Nothing struct{}

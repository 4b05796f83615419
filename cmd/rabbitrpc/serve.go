package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/mathrpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const serveHelp = `Serve the service math, whose one method fib answers n with the n-th Fibonacci
number, for n from 0 to 93.

It waits for a broker that is down, now and later. Once it takes calls it prints
one line. SIGINT (Ctrl-C) or SIGTERM drains: it takes no more calls, answers those
that run, and exits with 0; with 1 if they outlast --drain. A second signal kills it,
which a shell shows as 130 or 143.

With --queue it also answers callers that know nothing of this protocol, such as the
client of RabbitMQ's tutorial 6, on a queue by its name.

` + tracingHelp

type serveFlags struct {
	url      string
	queue    string
	workers  int
	drain    time.Duration
	quorum   int
	logLevel string
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve Fibonacci numbers: service math, method fib",
		Long:  serveHelp + "\n" + exitHelp,
		Example: `  rabbitrpc serve
  rabbitrpc serve --workers 64 --drain 10s
  rabbitrpc serve --queue rpc_queue      # answers RabbitMQ's tutorial 6 as well
  RABBITMQ_URL=amqps://me:secret@broker.example/prod rabbitrpc serve`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	urlFlag(cmd, &f.url)
	logFlag(cmd, &f.logLevel, "info")
	cmd.Flags().StringVar(&f.queue, "queue", "", "also serve this plain queue, such as rpc_queue")
	cmd.Flags().IntVar(&f.workers, "workers", 16, "calls that run at a time")
	cmd.Flags().DurationVar(&f.drain, "drain", 30*time.Second, "how long running calls may take once it is to end")
	cmd.Flags().IntVar(&f.quorum, "quorum", 0, "serve a quorum queue, which gives a request back after so many failed deliveries")
	return cmd
}

func (f *serveFlags) run(ctx context.Context, out, logs io.Writer) error {
	log, err := newLogger(logs, f.logLevel)
	if err != nil {
		return err
	}
	traces, err := startTracing(ctx, log)
	if err != nil {
		return err
	}
	defer traces.close()
	m, err := open(ctx, f.url, "rabbitrpc serve", log)
	if err != nil {
		return err
	}
	defer closeWithin(time.Second, m.Close)
	opts := append(traces.server(), server.WithWorkers(f.workers), server.WithDrain(f.drain), server.WithLogger(log))
	if f.queue != "" {
		opts = append(opts, server.WithQueue(f.queue, mathrpc.Fib.Name))
	}
	if f.quorum != 0 {
		opts = append(opts, server.WithQuorumQueue(f.quorum))
	}
	s, err := server.New(m, mathrpc.Service, opts...)
	if err != nil {
		return err
	}
	mathrpc.Register(s)
	defer context.AfterFunc(ctx, func() { log.Info("draining", "limit", f.drain) })()

	over := make(chan struct{})
	said := make(chan struct{})
	go func() {
		defer close(said)
		select {
		case <-s.Ready():
			fmt.Fprintln(out, f.ready(m.State().Addr))
		case <-over:
		}
	}()
	err = s.Run(ctx)
	close(over)
	<-said
	if err == nil {
		log.Info("drained")
	}
	return err
}

func (f *serveFlags) ready(addr string) string {
	line := []string{"serving", mathrpc.Service}
	if f.queue != "" {
		line = append(line, "and queue", printable(f.queue, ""))
	}
	if addr != "" { // else the session is lost already
		line = append(line, "at", addr)
	}
	return strings.Join(line, " ")
}

// closeWithin closes something in good order, if that does not take too long.
func closeWithin(limit time.Duration, close func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = close(ctx) // the process ends here: the broker notices, one way or the other
}

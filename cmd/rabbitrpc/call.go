package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const callHelp = `Call a method of a service and print the body of the reply, and a newline.

The request is JSON, {} if none is given; - reads it from standard input. With
--queue it is the body of a message to that queue, as in RabbitMQ's tutorial 6, in
plain text; a newline at the end of standard input is not part of that. After --, a
request may begin with a minus.

The timeout is for all of it: to connect, to call, and to call again if a server or
the broker fails on the way. An error goes to standard error, and says whether the
call was executed: yes, no, or unknown.

` + tracingHelp

type callFlags struct {
	url         string
	queue       string
	contentType string
	timeout     time.Duration
	logLevel    string
}

func newCall() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call SERVICE METHOD [JSON] | call --queue NAME [BODY]",
		Short: "Make one call and print the reply",
		Long:  callHelp + "\n" + exitHelp,
		Example: `  rabbitrpc call math fib 30
  echo '{"id": 7}' | rabbitrpc call --timeout 2s orders get -
  rabbitrpc call math fib -- -1            # refused: the server's error
  rabbitrpc call --queue rpc_queue 30      # a server of RabbitMQ's tutorial 6`,
		DisableFlagsInUseLine: true,
		Args:                  f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.request(cmd, args)
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context()) // not before standard input is read: Ctrl-C ends that
			defer stop()
			log, err := newLogger(cmd.ErrOrStderr(), f.logLevel)
			if err != nil {
				return err
			}
			traces, err := startTracing(ctx, config.Tracing{Sample: 1}, log)
			if err != nil {
				return err
			}
			defer traces.close() // once the reply is printed: nobody is to wait for a collector
			reply, err := f.call(ctx, r, log, cmd.ErrOrStderr(), traces.client())
			if err != nil {
				return err
			}
			return writeBody(cmd.OutOrStdout(), reply.Body)
		},
	}
	urlFlag(cmd, &f.url)
	logFlag(cmd, &f.logLevel, logOff)
	cmd.Flags().StringVar(&f.queue, "queue", "", "call the server of this plain queue")
	cmd.Flags().StringVar(&f.contentType, "content-type", "", "content type of the request (default: "+rpc.ContentTypeJSON+
		", with --queue "+rpc.ContentTypeText+")")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "for all of it, 1ms to 24h")
	return cmd
}

func (f *callFlags) args(cmd *cobra.Command, args []string) error {
	switch {
	case f.queue != "" && len(args) > 1:
		return usagef(cmd, "with --queue there is one argument, the body, got %d", len(args))
	case f.queue == "" && (len(args) < 2 || len(args) > 3):
		return usagef(cmd, "want a service, a method and maybe a request in JSON, got %d arguments", len(args))
	}
	return nil
}

func (f *callFlags) call(ctx context.Context, r *rpc.Request, log *slog.Logger, complaints io.Writer, opts []client.Option) (*rpc.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	m, err := open(ctx, f.url, "rabbitrpc call", log)
	if err != nil {
		return nil, err
	}
	defer closeWithin(time.Second, m.Close)
	opts = append(opts, client.WithTimeout(f.timeout), client.WithQueue(f.queue), client.WithMaxBody(maxBody))
	c, err := client.New(m, opts...)
	if err != nil {
		return nil, err
	}
	defer closeWithin(time.Second, c.Close)
	if err := connected(ctx, m, complaints); err != nil {
		return nil, err
	}
	return c.Do(ctx, r)
}

// errNoDialEnded is all that is known when the timeout is over before the first dial has ended.
var errNoDialEnded = errors.New("the broker did not answer before the timeout")

// connected is reach for a call.
func connected(ctx context.Context, m *conn.Manager, complaints io.Writer) error {
	err := reach(ctx, m, complaints)
	if err == nil {
		return nil
	}
	code := rpc.Unavailable
	if errors.Is(ctx.Err(), context.Canceled) {
		code = rpc.Canceled
	}
	return rpc.Errorf(code, "%w", err).WithExecuted(rpc.ExecutedNo)
}

// reach waits for a session. It says once why that takes long, and does not go on when the broker refuses: that needs
// other credentials, not more time.
func reach(ctx context.Context, m *conn.Manager, complaints io.Writer) error {
	var err error
	said := false
	for state := range m.Watch(ctx) {
		if state.Phase == conn.Connected {
			return nil
		}
		if err = state.Err; errors.Is(err, conn.ErrRefused) {
			break
		}
		if err != nil && !said {
			said = true
			fmt.Fprintf(complaints, "rabbitrpc: no connection yet, trying until the timeout: %s\n", sentence(err.Error()))
		}
	}
	switch {
	case err != nil:
	case errors.Is(ctx.Err(), context.Canceled):
		err = ctx.Err()
	default:
		err = errNoDialEnded
	}
	return fmt.Errorf("%w: %w", conn.ErrNotConnected, err)
}

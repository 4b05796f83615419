package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const callHelp = `Call a method of a service and print the body of the reply, and a newline.

The request is JSON, {} if none is given; - reads it from standard input, @FILE from a
file. With --queue it is the body of a message to that queue, as in RabbitMQ's tutorial
6, in plain text; a newline at the end of standard input is not part of that. After --,
a request may begin with a minus, and a request that begins with @ is read with -.

The timeout is for all of it: to connect, to call, and to call again if a server or
the broker fails on the way; to hang up takes a second more at most. An error goes to standard error, and says whether the
call was executed: yes, no, or unknown.

With -o raw the body is all that is printed, as it came. With -o json it is one object,
of an error too: ok, code, body, which is text if it is not JSON and base64 in
body_base64 if it is not text, content_type, server, replayed, ms; and of an error
message, details, executed, retry_after_ms, remote.

With --count the same request is called as often, each time as a call of its own, by
--concurrency callers. Then the times that calls took are shown, and the errors by
their codes; the exit code is that of the first error. The timeout is that of a call.
While no call gets through, a caller makes about ten in a second.

With --describe a server is asked what the method is for, takes and returns.

` + tracingHelp

type callFlags struct {
	url         string
	queue       string
	contentType string
	timeout     time.Duration
	logLevel    string
	output      string
	headers     []string
	wait        bool
	atMostOnce  bool
	durable     bool
	describe    bool
	count       int
	concurrency int
}

func newCall() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call SERVICE METHOD [JSON] | call --queue NAME [BODY]",
		Short: "Make a call, or many, and print the reply",
		Long:  callHelp + "\n" + exitHelp,
		Example: `  rabbitrpc call math fib 30
  echo '{"id": 7}' | rabbitrpc call --timeout 2s orders get -
  rabbitrpc call orders put @order.json -H tenant=blue --at-most-once
  rabbitrpc call math fib 30 -o json | jq .body
  rabbitrpc call math fib 30 --count 1000 --concurrency 10
  rabbitrpc call --describe math fib
  rabbitrpc call math fib -- -1            # refused: the server's error
  rabbitrpc call --queue rpc_queue 30      # a server of RabbitMQ's tutorial 6`,
		DisableFlagsInUseLine: true,
		Args:                  f.args,
		RunE:                  f.run,
	}
	cmd.SetFlagErrorFunc(minusHint)
	f.add(cmd)
	return cmd
}

func (f *callFlags) add(cmd *cobra.Command) {
	urlFlag(cmd, &f.url)
	logFlag(cmd, &f.logLevel, logOff)
	flags := cmd.Flags()
	flags.StringVar(&f.queue, "queue", "", "call the server of this plain queue")
	flags.StringVar(&f.contentType, "content-type", "", "content type of the request (default: "+rpc.ContentTypeJSON+
		", with --queue "+rpc.ContentTypeText+")")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "for all of it, 1ms to 24h")
	flags.StringVarP(&f.output, "output", "o", "text", "text, json or raw")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "`NAME=VALUE` for the handler, may be repeated; NAME must not begin with rpc- or x-")
	flags.BoolVar(&f.wait, "wait", false, "wait for a server until the timeout, instead of failing at once")
	flags.BoolVar(&f.atMostOnce, "at-most-once", false, "never send a call again once it may have been delivered")
	flags.BoolVar(&f.durable, "durable", false, "have the broker write the request to disk, where it waits for a server")
	flags.BoolVar(&f.describe, "describe", false, "ask what the method takes and returns, instead of calling it")
	flags.IntVar(&f.count, "count", 1, "how many calls to make, up to 1000000000")
	flags.IntVar(&f.concurrency, "concurrency", 1, "with --count: how many at a time, up to 1000")
}

func (f *callFlags) args(cmd *cobra.Command, args []string) error {
	switch {
	case f.describe && (len(args) != 2 || f.queue != "" || f.count != 1):
		return usagef(cmd, "--describe goes with a service and a method, and neither --queue nor --count")
	case f.queue != "" && len(args) > 1:
		return usagef(cmd, "with --queue there is one argument, the body, got %d", len(args))
	case f.queue == "" && (len(args) < 2 || len(args) > 3):
		return usagef(cmd, "want a service, a method and maybe a request in JSON, got %d arguments", len(args))
	case f.queue != "" && f.durable:
		return usagef(cmd, "--queue and --durable do not go together")
	case f.output != "text" && f.output != "json" && f.output != "raw":
		return usagef(cmd, "output must be text, json or raw, got %q", f.output)
	case f.output == "raw" && (f.describe || f.count != 1):
		return usagef(cmd, "-o raw is for the body of one reply")
	case f.count < 1 || f.count > 1_000_000_000:
		return usagef(cmd, "count must be 1 to 1000000000, got %d", f.count)
	case f.concurrency < 1 || f.concurrency > 1000:
		return usagef(cmd, "concurrency must be 1 to 1000, got %d", f.concurrency)
	case f.concurrency > 1 && f.count == 1:
		return usagef(cmd, "--concurrency is for many calls: it needs --count")
	case f.queue != "":
		return nil
	}
	if err := cmp.Or(wire.CheckService(args[0]), wire.CheckMethod(args[1])); err != nil {
		return usagef(cmd, "%w", err)
	}
	return nil
}

func (f *callFlags) run(cmd *cobra.Command, args []string) error {
	r, err := f.request(cmd, args)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(cmd.Context()) // not before standard input is read: Ctrl-C ends that
	defer stop()
	start := time.Now()
	connecting, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	m, c, done, err := f.client(connecting, cmd.ErrOrStderr())
	switch {
	case err != nil:
		return f.answered(cmd.OutOrStdout(), nil, err, time.Since(start))
	case f.count > 1:
		defer done()
		return f.many(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), c, r)
	case f.describe:
		defer done()
		if err := f.described(connecting, cmd.OutOrStdout(), c, r); err != nil {
			return blocked(m, f.answered(cmd.OutOrStdout(), nil, err, time.Since(start)))
		}
		return nil
	}
	defer done()
	start = time.Now()
	reply, err := c.Do(connecting, r)
	return blocked(m, f.answered(cmd.OutOrStdout(), reply, err, time.Since(start)))
}

// blocked adds to the error of a call without an answer that the broker takes no messages: it says so after the first of them.
func blocked(m *conn.Manager, err error) error {
	if rpc.CodeOf(err) != rpc.DeadlineExceeded {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a session that is there is handed out all the same
	s, lost := m.Session(ctx)
	if lost != nil || s.Blocked() == nil {
		return err
	}
	return &hintedError{err, "the broker takes no messages for now, and rabbitrpc doctor says why. The call may take effect when it does again"}
}

// client makes the client of the calls, once there is a session. Whoever gets one calls done.
func (f *callFlags) client(ctx context.Context, complaints io.Writer) (m *conn.Manager, c *client.Client, done func(), err error) {
	log, err := newLogger(complaints, f.logLevel)
	if err != nil {
		return nil, nil, nil, err
	}
	traces, err := startTracing(ctx, config.Tracing{Sample: 1}, log)
	if err != nil {
		return nil, nil, nil, err
	}
	m, err = open(ctx, f.url, "rabbitrpc call", log)
	if err != nil {
		traces.close()
		return nil, nil, nil, err
	}
	opts := append(traces.client(), client.WithTimeout(f.timeout), client.WithQueue(f.queue), client.WithMaxBody(maxBody))
	if f.wait {
		opts = append(opts, client.WaitForServer())
	}
	if f.atMostOnce {
		opts = append(opts, client.AtMostOnce())
	}
	if f.durable {
		opts = append(opts, client.Durable())
	}
	if c, err = client.New(m, opts...); err == nil {
		err = connected(ctx, m, complaints)
	}
	hangUp := func(ctx context.Context) error {
		if c != nil {
			c.Close(ctx)
		}
		return m.Close(ctx)
	}
	done = func() { closeWithin(time.Second, hangUp); traces.close() }
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return m, c, done, nil
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

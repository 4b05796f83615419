package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const pingHelp = `Ask all instances of a service whether they are there, and show how long each takes
to answer, until --count or Ctrl-C. What is measured is the way to the instance and
back, beside its calls: an instance whose workers are all busy answers, too.

Answers are waited for until the next ping, those to the last for half a second.

With -o json there is one object on each line: seq, name, id, version, state and ms,
and in the end one with the summary.
`

const pingExits = `Exit codes:
  0       an instance has answered
  1       usage or configuration is wrong, or the command failed
  2       no connection with the broker, or it was lost on the way
  3       no instance has answered
  130     stopped by Ctrl-C or SIGTERM before it was connected`

// errNoInstance is the end of a command that nobody has answered.
var errNoInstance = errors.New("no instance has answered")

const maxPinged = 1000 // instances that are told from each other

type pingFlags struct {
	brokerFlags
	count    int
	interval time.Duration
	output   string
}

func newPing() *cobra.Command {
	var f pingFlags
	cmd := &cobra.Command{
		Use:   "ping SERVICE",
		Short: "Ask all instances of a service whether they are there",
		Long:  pingHelp + "\n" + pingExits,
		Example: `  rabbitrpc ping math
  rabbitrpc ping math --count 3 --interval 200ms
  rabbitrpc ping math -c 1 -o json | jq -r .name`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return f.run(ctx, cmd, args[0])
		},
	}
	f.add(cmd)
	cmd.Flags().IntVarP(&f.count, "count", "c", 0, "how often to ask; 0 until Ctrl-C")
	cmd.Flags().DurationVarP(&f.interval, "interval", "i", time.Second, "time between two pings, 10ms to 1h")
	outputFlag(cmd, &f.output)
	return cmd
}

func (f *pingFlags) args(cmd *cobra.Command, args []string) error {
	if err := checkOutput(cmd, f.output); err != nil {
		return err
	}
	switch {
	case len(args) != 1:
		return usagef(cmd, "want the name of a service, got %d arguments", len(args))
	case f.count < 0:
		return usagef(cmd, "count must not be negative, got %d", f.count)
	case f.interval < 10*time.Millisecond || f.interval > time.Hour:
		return usagef(cmd, "interval must be 10ms to 1h, got %v", f.interval)
	}
	return cmp.Or(checkOutput(cmd, f.output), checkService(cmd, args))
}

func (f *pingFlags) run(ctx context.Context, cmd *cobra.Command, service string) error {
	m, done, err := f.connect(ctx, cmd, "rabbitrpc ping")
	if err != nil {
		return err
	}
	defer done()
	d := client.NewDiscovery(m)
	defer closeWithin(time.Second, d.Close)
	p := newPinger(service, cmd.OutOrStdout(), f.output == "json")
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	var failed error // of the latest ping
	for seq := 1; ctx.Err() == nil; seq++ {
		last := seq == f.count
		wait := f.interval
		if last {
			wait = client.DefaultQuiet
		}
		failed = p.ping(ctx, d, seq, wait)
		switch {
		case p.unwritten != nil:
			return failed
		case errors.Is(failed, conn.ErrRefused):
			return denied(failed)
		case failed != nil && ctx.Err() == nil:
			fmt.Fprintf(cmd.ErrOrStderr(), "rabbitrpc: ping %d: %s\n", seq, sentence(failed.Error()))
		}
		if last {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	if err := p.end(); err != nil {
		return err
	}
	switch {
	case p.answers > 0:
		return nil
	case errors.Is(failed, conn.ErrBlocked):
		return fmt.Errorf("service %s cannot be asked: %w", service, conn.ErrBlocked)
	}
	return unanswered(context.WithoutCancel(ctx), d, service)
}

// unanswered is the error for a service none of whose instances has answered, with what is known of it besides.
func unanswered(ctx context.Context, d *client.Discovery, service string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := fmt.Errorf("%w for service %s", errNoInstance, service)
	q, looked := d.Queue(ctx, service)
	switch {
	case errors.Is(looked, conn.ErrNotFound):
		return &hintedError{err, "it has no queue, so no server was ever there: check the name, or start a server"}
	case looked == nil && q.Consumers == 0:
		return &hintedError{err, fmt.Sprintf("nobody serves its queue, where %d requests wait: start a server", q.Messages)}
	case looked == nil:
		return &hintedError{err, fmt.Sprintf("consumers of its queue: %d. They are older, without discovery, or not allowed a queue for it", q.Consumers)}
	}
	return &hintedError{err, "check the name, or start a server"}
}

// denied is the error for a user who may not ask.
func denied(err error) error {
	return &hintedError{err, "rabbitrpc topology permissions prints the rights that it takes: with --client USER --service NAME for services by their " +
		"names, with --observer USER for all"}
}

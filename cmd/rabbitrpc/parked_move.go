package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

const parkedRequeueHelp = `Send parked requests to their service again. They wait in its queue until a server
takes them, and do not expire. If there is no such queue, since nobody has ever served
the service, they stay parked.

Each gets a new call ID, since its old one has an outcome: it was given up. The old one
is in the header parked-call. Requeued twice, since this was killed in between, it has
the same new ID, and servers that remember calls run it once. Its handler gets the
time that the caller had left, if that was half a minute or more, else the default of
the server.

Nobody waits for the answer, whatever it is: see the log of the server. The client is
"rabbitrpc parked", and there is no user: the broker lets nobody name another than
himself. A service that insists on the user refuses the request, and it is gone.
`

const parkedDropHelp = `Remove parked requests for good. Their callers know that they were given up.

It asks first. Where nobody can be asked it needs --yes.
`

// some requests that are parked for a service: those with these IDs, or all.
type some struct {
	parkedFlags
	all bool
}

func (f *some) add(cmd *cobra.Command, what string) {
	f.parkedFlags.add(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, what+" all that is parked now")
}

func (f *some) args(cmd *cobra.Command, args []string) error {
	if err := checkService(cmd, args); err != nil {
		return err
	}
	if f.all == (len(args) > 1) {
		return usagef(cmd, "want either call IDs or --all")
	}
	return nil
}

// streamed is how many requests are in memory when all of them go.
const streamed = 20

// each does something with each request that is meant, once confirm has agreed, and prints what that is. What is begun is
// ended, also when a signal comes.
func (f *some) each(cmd *cobra.Command, args []string, confirm func(context.Context, int, []*parked.Request) error,
	do func(context.Context, *parked.Queue, *parked.Request) (done string, err error),
) error {
	service, ids, window := args[0], args[1:], parked.MaxHeld
	if f.all {
		window = streamed
	}
	return f.read(cmd, service, window, func(ctx context.Context, q *parked.Queue) error {
		requests, n := q.Requests(ctx), q.Len()
		var these []*parked.Request
		if !f.all {
			found, err := find(ctx, q, service, ids)
			if err != nil {
				return err
			}
			requests, n, these = list(found), len(found), found
		}
		if n == 0 {
			nothingParked(cmd.ErrOrStderr(), service)
			return nil
		}
		if err := confirm(ctx, n, these); err != nil {
			return err
		}
		var unfit unfit
		for r, err := range requests {
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			done, err := one(ctx, q, r, do)
			if f.all && unfit.add(err) {
				continue
			}
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), done); err != nil {
				return fmt.Errorf("write what was done: %w", err)
			}
		}
		return unfit.err()
	})
}

// unfit are messages that are no requests and stay parked. They do not keep the others from their service.
type unfit struct {
	first error
	n     int
}

// add reports whether err is that of such a message.
func (u *unfit) add(err error) bool {
	if !errors.Is(err, wire.ErrNotParked) && !errors.Is(err, wire.ErrNoMethod) {
		return false
	}
	u.first = cmp.Or(u.first, errors.Unwrap(err))
	u.n++
	return true
}

func (u *unfit) err() error {
	if u.n == 0 {
		return nil
	}
	return &hintedError{fmt.Errorf("%d stay parked: %w", u.n, u.first), fmt.Sprintf(
		"look at them with rabbitrpc parked show, and drop them; from %d on they also keep what is behind them", streamed)}
}

func list(these []*parked.Request) iter.Seq2[*parked.Request, error] {
	return func(yield func(*parked.Request, error) bool) {
		for _, r := range these {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func one(ctx context.Context, q *parked.Queue, r *parked.Request,
	do func(context.Context, *parked.Queue, *parked.Request) (string, error),
) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	done, err := do(ctx, q, r)
	switch {
	case errors.Is(err, parked.ErrInDoubt):
		return "", fmt.Errorf("call %s: %w", r.CorrelationID, err)
	case err != nil:
		return "", fmt.Errorf("call %s stays parked: %w", r.CorrelationID, err)
	}
	return done, nil
}

func newParkedRequeue() *cobra.Command {
	var f some
	cmd := &cobra.Command{
		Use:   "requeue SERVICE ID... | requeue SERVICE --all",
		Short: "Send parked requests to their service again",
		Long:  parkedRequeueHelp + parkedIDs + "\n" + exitHelp,
		Example: `  rabbitrpc parked requeue math 4f1c 97b0
  rabbitrpc parked requeue math --all`,
		DisableFlagsInUseLine: true,
		Args:                  f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			agreed := func(context.Context, int, []*parked.Request) error { return nil }
			return f.each(cmd, args, agreed, func(ctx context.Context, q *parked.Queue, r *parked.Request) (string, error) {
				id, err := q.Requeue(ctx, r)
				return fmt.Sprintf("requeued %s as %s", cell(r.CorrelationID), id), err
			})
		},
	}
	f.add(cmd, "requeue")
	return cmd
}

func newParkedDrop() *cobra.Command {
	var f some
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop SERVICE ID... | drop SERVICE --all",
		Short: "Remove parked requests for good",
		Long:  parkedDropHelp + parkedIDs + "\n" + exitHelp,
		Example: `  rabbitrpc parked drop math 4f1c
  rabbitrpc parked drop math --all --yes`,
		DisableFlagsInUseLine: true,
		Args:                  f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes && !isTerminal(cmd.InOrStdin()) {
				return usagef(cmd, "nobody can be asked: standard input is no terminal. --yes drops them without")
			}
			confirm := func(ctx context.Context, n int, these []*parked.Request) error {
				if yes {
					return nil
				}
				return ask(ctx, cmd, n, these)
			}
			return f.each(cmd, args, confirm, func(_ context.Context, q *parked.Queue, r *parked.Request) (string, error) {
				return "dropped " + cell(r.CorrelationID), q.Drop(r)
			})
		},
	}
	f.add(cmd, "drop")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

var errNotAgreed = errors.New("nothing is dropped")

// ask asks whether n requests, these if they are few, are to be dropped.
func ask(ctx context.Context, cmd *cobra.Command, n int, these []*parked.Request) error {
	out := cmd.ErrOrStderr()
	if len(these) > 0 {
		t := newTable(out)
		for _, r := range these {
			if err := t.add(r); err != nil {
				return err
			}
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Drop %d for good? [y/N] ", n)
	answer := make(chan string, 1)
	go func() { // it outlives a signal, and ends with the process
		line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return errNotAgreed
	case <-ctx.Done():
		fmt.Fprintln(out)
		return ctx.Err()
	}
}

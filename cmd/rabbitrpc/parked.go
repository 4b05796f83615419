package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
)

const parkedHelp = `Look at the requests that the servers of a service have given up, and decide what is
to become of them.

A server that finds that a request was started again and again by servers that did
not live to answer it does not start it once more. It parks it, in the queue
rabbitrpc.SERVICE.parked, and tells its caller. There it stays until somebody has
found out what it does to servers, and requeues or drops it.

A request leaves the queue only after the broker has confirmed what takes its place.
Whatever is killed meanwhile, nothing is lost. One command at a time can read a
queue, and what it only looks at goes back in its order.

The user needs the right to read rabbitrpc.SERVICE.parked, since RabbitMQ 4.3 also to
configure it; and to requeue, the right to write rabbitrpc. Where it is a quorum queue,
a request that was looked at ten times is written anew, at its end: the queue might
drop it soon. That takes the right to write amq.default.
`

const parkedIDs = `
Requests are named by their call IDs, or as much of the beginning as tells one from
the others: four characters at least.
`

func newParked() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "Look at requests that servers gave up, requeue or drop them",
		Long:  parkedHelp + "\n" + exitHelp,
		Example: `  rabbitrpc parked ls math
  rabbitrpc parked show math 4f1c
  rabbitrpc parked requeue math 4f1c
  rabbitrpc parked drop math --all`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newParkedList(), newParkedShow(), newParkedRequeue(), newParkedDrop())
	return cmd
}

// parkedFlags are those of each command that reads a parked queue.
type parkedFlags struct{ brokerFlags }

// read opens the parked queue of a service for do, and gives back what is left of it, however that ends.
func (f *parkedFlags) read(cmd *cobra.Command, service string, window int, do func(context.Context, *parked.Queue) error) error {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	err := f.session(ctx, cmd, service, window, do)
	if errors.Is(err, context.Canceled) && !errors.Is(err, parked.ErrInDoubt) {
		return errInterrupted
	}
	return err
}

func (f *parkedFlags) session(ctx context.Context, cmd *cobra.Command, service string, window int,
	do func(context.Context, *parked.Queue) error,
) error {
	m, done, err := f.connect(ctx, cmd, "rabbitrpc parked")
	if err != nil {
		return err
	}
	defer done()
	q, err := parked.Open(ctx, m, service, window)
	if err != nil {
		return err
	}
	err = do(ctx, q)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return errors.Join(err, q.Close(closing))
}

// minPrefix keeps a slip of the finger from naming a request.
const minPrefix = 4

// find holds the requests with these call IDs, each given by its beginning. One ID may have several: it was parked twice.
func find(ctx context.Context, q *parked.Queue, service string, ids []string) (found []*parked.Request, err error) {
	there := make(map[string][]*parked.Request) // those that may be meant, by call ID as it is shown
	for r, err := range q.Requests(ctx) {
		if err != nil {
			return nil, err
		}
		full := printable(r.CorrelationID, "")
		if slices.ContainsFunc(ids, func(id string) bool { return means(id, full) }) {
			there[full] = append(there[full], r)
		}
	}
	for _, id := range ids {
		full, err := complete(id, slices.Sorted(maps.Keys(there)))
		if err != nil {
			return nil, &hintedError{err, "rabbitrpc parked ls " + service + " shows what is parked"}
		}
		found = append(found, there[full]...)
		there[full] = nil // it may be named twice
	}
	return found, nil
}

func means(id, full string) bool {
	return id == full || len(id) >= minPrefix && strings.HasPrefix(full, id)
}

// complete returns the one call ID that id can mean.
func complete(id string, all []string) (string, error) {
	if slices.Contains(all, id) {
		return id, nil
	}
	all = slices.DeleteFunc(all, func(full string) bool { return !means(id, full) })
	switch len(all) {
	case 1:
		return all[0], nil
	case 0:
		return "", fmt.Errorf("no parked request has a call ID that begins with %q, which takes %d characters or all", id, minPrefix)
	}
	return "", fmt.Errorf("%q begins the call IDs of %d parked requests, such as %s and %s", id, len(all), all[0], all[1])
}

// checkService refuses what cannot be a service.
func checkService(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef(cmd, "want the name of a service")
	}
	return checkServices(cmd, args[:1])
}

func nothingParked(w io.Writer, service string) {
	fmt.Fprintf(w, "rabbitrpc: nothing is parked for %s\n", service)
}

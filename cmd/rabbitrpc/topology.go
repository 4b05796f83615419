package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/topology"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

const topologyHelp = `Declare, check and delete what the broker has of services, so that servers need no right
to do so.

That is for each service an exchange and a queue, both rabbitrpc.SERVICE, the binding between
the two, and the queue rabbitrpc.SERVICE.parked; and the exchange rabbitrpc, by which the
instances of all services are found. Servers declare exactly that themselves, where they may.
Where they may not, they use what is there.
`

func newTopology() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Declare, check or delete queues of services, and print the rights of users",
		Long:  topologyHelp + "\n" + exitHelp,
		Example: `  rabbitrpc topology permissions --client web --server orders --provisioner ops --service orders
  rabbitrpc topology declare orders --quorum 5
  rabbitrpc topology check orders --quorum 5
  rabbitrpc topology delete orders`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTopologyDeclare(), newTopologyCheck(), newTopologyDelete(), newTopologyPermissions())
	return cmd
}

// topologyFlags are those of each command that knows what a service is to have.
type topologyFlags struct {
	brokerFlags
	queue    string
	quorum   int
	maxQueue int
}

func (f *topologyFlags) add(cmd *cobra.Command) {
	f.brokerFlags.add(cmd)
	cmd.Flags().Lookup("timeout").Usage = "for all of it"
	cmd.Flags().StringVar(&f.queue, "queue", "", "a plain queue as well, which servers serve with this service")
	cmd.Flags().IntVar(&f.quorum, "quorum", 0, "a quorum queue, with this delivery limit, 1 to 1000; 0 for a classic queue")
	cmd.Flags().IntVar(&f.maxQueue, "max-queue", 0, "how many requests may wait; 0 for any number")
}

func (f *topologyFlags) args(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usagef(cmd, "want the name of a service, or several")
	case f.quorum < 0 || f.quorum > 1000:
		return usagef(cmd, "delivery limit must be 1 to 1000, got %d", f.quorum)
	case f.maxQueue < 0:
		return usagef(cmd, "max-queue must be 1 or more, got %d", f.maxQueue)
	case len(f.queue) > 255:
		return usagef(cmd, "queue must have at most 255 bytes, got %d", len(f.queue))
	}
	for _, service := range args {
		if f.queue == wire.Queue(service) {
			return usagef(cmd, "queue %s is the service's own: it is there without --queue", f.queue)
		}
	}
	return checkServices(cmd, args)
}

func (f *topologyFlags) wanted(service string) *topology.Service {
	return &topology.Service{Topology: wire.NewTopology(service, f.quorum, f.maxQueue), Plain: f.queue}
}

// each does something for each service, in one session.
func (f *topologyFlags) each(cmd *cobra.Command, services []string,
	do func(ctx context.Context, m *conn.Manager, s conn.Session, service string) error,
) error {
	stopped, stop := untilSignal(cmd.Context())
	defer stop()
	ctx, cancel := context.WithTimeout(stopped, f.timeout)
	defer cancel()
	m, done, err := f.connect(stopped, cmd, "rabbitrpc topology")
	if err != nil {
		return err
	}
	defer done()
	session, err := m.Session(ctx)
	for i := 0; err == nil && i < len(services); i++ {
		err = do(ctx, m, session, services[i])
	}
	if errors.Is(err, conn.ErrRefused) && !errors.Is(err, conn.ErrNotConnected) {
		err = &hintedError{err, "rabbitrpc topology permissions --provisioner USER prints the rights that it takes"}
	}
	if err != nil {
		return interrupted(stopped, err)
	}
	return nil
}

const topologyDeclareHelp = `Declare what services need. What is there stays as it is, so it can be repeated. A queue
that exists with other properties is an error, which names them; it is not changed.
`

func newTopologyDeclare() *cobra.Command {
	var f topologyFlags
	cmd := &cobra.Command{
		Use:   "declare SERVICE...",
		Short: "Declare what services need, as their servers would",
		Long:  topologyDeclareHelp + "\n" + exitHelp,
		Example: `  rabbitrpc topology declare orders billing
  rabbitrpc topology declare orders --quorum 5
  rabbitrpc topology declare orders --max-queue 200 --queue rpc_queue`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.each(cmd, args, func(ctx context.Context, _ *conn.Manager, s conn.Session, service string) error {
				return migratable(service, topology.Declare(ctx, s, f.wanted(service), func(what string) {
					fmt.Fprintln(cmd.OutOrStdout(), "declared", what)
				}))
			})
		},
	}
	f.add(cmd)
	return cmd
}

// migratable says how to get from one queue to the other.
func migratable(service string, err error) error {
	if _, ok := errors.AsType[*topology.DifferentError](err); ok {
		return &hintedError{err, "declare it with the flags that fit; or stop its servers, wait until it is empty, and " +
			"rabbitrpc topology delete " + service}
	}
	return err
}

const topologyDeleteHelp = `Delete the queues of services that are gone: rabbitrpc.SERVICE, its parked queue, and the one of
--queue; then the exchange rabbitrpc.SERVICE. The exchange rabbitrpc stays: it is of all services.

Nothing of a service is deleted as long as one of them has messages or consumers. It
looks first and deletes then, so stop servers and callers before. --force deletes all, with
the requests that wait or are parked: their callers get no answer.
`

func newTopologyDelete() *cobra.Command {
	var f topologyFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "delete SERVICE...",
		Short: "Delete the queues of services, if nobody uses them",
		Long:  topologyDeleteHelp + "\n" + exitHelp,
		Example: `  rabbitrpc topology delete orders
  rabbitrpc topology delete orders --force`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.each(cmd, args, func(ctx context.Context, _ *conn.Manager, s conn.Session, service string) error {
				err := topology.Delete(ctx, s, f.wanted(service), force, func(what string) {
					fmt.Fprintln(cmd.OutOrStdout(), "deleted", what)
				})
				if _, ok := errors.AsType[*topology.BusyError](err); ok {
					return &hintedError{err, "stop its servers, wait until it is empty, look at what is parked; --force deletes it all the same"}
				}
				return err
			})
		},
	}
	f.add(cmd)
	for _, name := range []string{"quorum", "max-queue"} { // a queue is deleted whatever its properties
		_ = cmd.Flags().MarkHidden(name)
	}
	cmd.Flags().BoolVar(&force, "force", false, "delete queues that have messages or consumers, too")
	return cmd
}

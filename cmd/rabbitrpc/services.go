package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const servicesHelp = `Ask all running servers of all services, or of those that are named, who they are.
Nothing has to be set up for that: servers answer on a queue of their own, beside
their calls. Half a second without an answer is the end.

A service that is named, or was there before in --watch, is shown even if none of its
instances answers, as long as it has a queue. Older servers do not answer, nor do
those that may not have a queue for that: they are among the CONSUMERS. READY is how
many requests wait, - where the broker does not tell this user.

What an instance says of itself nobody has checked.

With --watch it is asked again and again, until Ctrl-C: on a terminal the picture is
drawn anew, else it is appended. With -o json there is one object on each line, for
each instance: service, instance, which is null if none answers, ready, consumers, and
with --watch at.
`

func newServices() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "services",
		Short: "Show which servers run, what they serve and how they do",
		Long:  servicesHelp + "\n" + pingExits,
		Example: `  rabbitrpc services ls
  rabbitrpc services info math
  rabbitrpc services stats --watch`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newServicesView("ls", "List the instances of all services, or of some", client.AskInfo, listing, `  rabbitrpc services ls
  rabbitrpc services ls math orders --watch
  rabbitrpc services ls -o json | jq -r .instance.name`),
		newServicesView("info", "Show what instances are, with all that they say", client.AskInfo, details, `  rabbitrpc services info math
  rabbitrpc services info math -o json | jq .instance.info.methods`),
		newServicesView("stats", "Show what instances have counted since they started", client.AskStats, counters, `  rabbitrpc services stats
  rabbitrpc services stats math --watch --interval 1s
  rabbitrpc services stats math -o json | jq .instance.stats.running`),
	)
	return cmd
}

// A view shows people what was found.
type view func(paint painter, found []finding) string

type servicesFlags struct {
	brokerFlags
	watch    bool
	interval time.Duration
	output   string
}

func newServicesView(name, short string, ask client.Question, show view, examples string) *cobra.Command {
	var f servicesFlags
	cmd := &cobra.Command{
		Use:     name + " [SERVICE...]",
		Short:   short,
		Long:    short + ".\n\n" + servicesHelp + "\n" + pingExits,
		Example: examples,
		Args:    f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return f.run(ctx, cmd, args, ask, show)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "ask again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "with --watch: time between two questions, 100ms to 1h")
	outputFlag(cmd, &f.output)
	return cmd
}

func (f *servicesFlags) args(cmd *cobra.Command, args []string) error {
	if err := checkOutput(cmd, f.output); err != nil {
		return err
	}
	switch {
	case f.interval < 100*time.Millisecond || f.interval > time.Hour:
		return usagef(cmd, "interval must be 100ms to 1h, got %v", f.interval)
	case len(args) > maxServices:
		return usagef(cmd, "want %d services at most, got %d", maxServices, len(args))
	}
	return cmp.Or(checkOutput(cmd, f.output), checkServices(cmd, args))
}

func (f *servicesFlags) run(ctx context.Context, cmd *cobra.Command, names []string, ask client.Question, show view) error {
	m, done, err := f.connect(ctx, cmd, "rabbitrpc services")
	if err != nil {
		return err
	}
	defer done()
	d := client.NewDiscovery(m)
	defer closeWithin(time.Second, d.Close)
	s := &survey{discovery: d, ask: ask, only: names, known: make(map[string]bool)}
	for _, name := range names {
		s.known[name] = true
	}
	if f.watch {
		return f.again(ctx, cmd, s, show)
	}
	found, err := s.look(ctx)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, conn.ErrRefused):
		return denied(err)
	case err != nil:
		return err
	}
	out := cmd.OutOrStdout()
	text := objects(found, "")
	if f.output == "text" && len(found) > 0 {
		text = show(painterFor(out), found)
	}
	if _, err := io.WriteString(out, text); err != nil || answered(found) {
		return err
	}
	if len(names) == 1 {
		return unanswered(ctx, d, names[0])
	}
	return &hintedError{errNoInstance, "servers of an older version do not answer; to look at the queue of a service, name it"}
}

func answered(found []finding) bool {
	for _, one := range found {
		if one.Instance != nil {
			return true
		}
	}
	return false
}

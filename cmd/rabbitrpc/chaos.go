package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

func newChaos() *cobra.Command {
	cmd := &cobra.Command{
		Use: "chaos",

		SuggestionsMinimumDistance: 2,

		Short: "Break a broker, a network and servers on purpose, and check what calls were promised",
		Long: `Run servers of a bank and callers on a private RabbitMQ and a private PostgreSQL, break
them as a scenario says, and check that what was promised holds: money is conserved, no
effect lost or doubled, every call ended by its deadline, and all the rest of docs/failures.md.

` + exitHelp,
		Example: `  rabbitrpc chaos run                              # the bank, half a minute of all faults
  rabbitrpc chaos run --server './my-server'       # the same with servers of your own
  rabbitrpc chaos list`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newChaosRun(), newChaosReplay(), newChaosList(), newChaosBank(), newChaosGuests())
	return cmd
}

func newChaosList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the scenarios",
		Example: "  rabbitrpc chaos list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listScenarios(cmd.OutOrStdout())
		},
	}
}

func listScenarios(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range scenario.All() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Group, s.Name, s.About)
	}
	return w.Flush()
}

// scenarioNames completes the names of scenarios.
func scenarioNames(*cobra.Command, []string, string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, s := range scenario.All() {
		names = append(names, cobra.CompletionWithDesc(s.Name, s.About))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

const rootHelp = `Remote procedure calls over RabbitMQ that survive failures.

The broker is the one that --url names, else RABBITMQ_URL, else AMQP_URL, else one
on this host. Several URLs, separated by commas, are the nodes of a cluster. A
password is better kept in the environment, since all users of a machine see the
arguments of its programs. It is never printed.
`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "rabbitrpc",
		Short: "Remote procedure calls over RabbitMQ that survive failures",
		Long:  rootHelp + "\n" + exitHelp,
		Example: `  rabbitrpc serve                 # in one terminal: the service math
  rabbitrpc call math fib 30      # in another: prints 832040
  rabbitrpc services ls           # who serves what
  rabbitrpc demo                  # servers and a broker are killed, no call fails`,
		Version: version(),
		Args:    knownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SilenceErrors: true, // main says them
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true // there is one with examples
	root.SetFlagErrorFunc(flagError)
	group(root, "Serving", newServe(), newConfig())
	group(root, "Calling", newCall(), newGateway())
	group(root, "Operating", newServices(), newPing(), newDoctor(), newTopology(), newParked())
	group(root, "Proving", newDemo(), newChaos(), newBench())
	root.AddCommand(newDemoServer(), newBenchWorker(), newCompletion(), newMan(), newVersion())
	completeValues(root)
	return root
}

func init() { cobra.EnableCommandSorting = false } // a help has commands in the order in which they are needed

// group adds commands below a headline of the help.
func group(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title + ":"})
	for _, c := range commands {
		c.GroupID = title
	}
	root.AddCommand(commands...)
}

// knownCommand refuses what is no command, in one line.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2 // cobra's own default, which it sets elsewhere
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		text += ", did you mean " + strings.Join(similar, " or ") + "?"
	}
	return usagef(cmd, "%s", text)
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(cmd, "%s takes no arguments, got %q", cmd.Name(), args[0])
	}
	return nil
}

// urlFlag adds --url. What the environment says is no default of the flag: the help would show its password.
func urlFlag(cmd *cobra.Command, url *string) {
	cmd.Flags().StringVar(url, "url", "", "URL of the broker (default: RABBITMQ_URL, AMQP_URL or a broker on this host)")
}

// outputFlag adds -o, for commands that write lines of text or of JSON.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "text or json")
}

func checkOutput(cmd *cobra.Command, output string) error {
	if output != "text" && output != "json" {
		return usagef(cmd, "output must be text or json, got %q", output)
	}
	return nil
}

// checkServices refuses what cannot be the names of services.
func checkServices(cmd *cobra.Command, names []string) error {
	for _, name := range names {
		if err := wire.CheckService(name); err != nil {
			return usagef(cmd, "%v", err)
		}
	}
	return nil
}

// brokerURL returns the URL that the flag or the environment names, and which of them it is.
func brokerURL(flag string) (url, source string) {
	switch {
	case flag != "":
		return flag, "--url"
	case os.Getenv("RABBITMQ_URL") == "" && os.Getenv("AMQP_URL") != "":
		return conn.DefaultURL(), "AMQP_URL"
	}
	return conn.DefaultURL(), "RABBITMQ_URL"
}

// open dials the broker that the flag or the environment names. An error says which of them cannot be right.
func open(ctx context.Context, flag, name string, log *slog.Logger) (*conn.Manager, error) {
	url, source := brokerURL(flag)
	if err := conn.CheckURL(url); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return conn.Open(ctx, url, conn.WithBackgroundDial(), conn.WithName(name), conn.WithLogger(log))
}

// closeWithin closes something in good order, if that does not take too long.
func closeWithin(limit time.Duration, close func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = close(ctx) // the process ends here: the broker notices, one way or the other
}

package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/demo"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const demoHelp = `Show what calls survive, in less than half a minute, with real processes: a private
broker, two servers, and 16 callers that never pause for long. A server is killed
(SIGKILL) in the middle of calls, a new one comes, then the broker itself is killed
and started again. Each line says what happened, the table at the end what became of
the calls:

  re-sent   attempts beyond the first of their call
  replayed  calls that were answered, after a lost reply, with the reply that their
            server had kept: it did not run them again

It needs RabbitMQ installed, not running: the broker of the demo is its own, on a
free port, and leaves nothing behind, however the demo ends.

It exits with 1 if a call failed.
`

const demoServer = "demo-server"

func newDemo() *cobra.Command {
	var level string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Kill servers and a broker under load, and lose no call",
		Long:  demoHelp,
		Example: `  rabbitrpc demo
  rabbitrpc demo --log-level warn      # with what client and servers say meanwhile`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			log, err := newLogger(cmd.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			err = demo.Run(ctx, demo.Config{Out: cmd.OutOrStdout(), Log: log, Server: func(name, url string) *exec.Cmd {
				server := exec.Command(self, demoServer, "--log-level", level, name)
				server.Env = append(os.Environ(), "RABBITMQ_URL="+url)
				server.Stderr = os.Stderr
				return server
			}})
			if ctx.Err() != nil {
				return errInterrupted
			}
			return err
		},
	}
	logFlag(cmd, &level, logOff)
	return cmd
}

// newDemoServer is a server of the demo, a process that can be killed.
func newDemoServer() *cobra.Command {
	var level string
	cmd := &cobra.Command{
		Use:    demoServer + " NAME",
		Short:  "Serve the demo, which starts this itself",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			log, err := newLogger(cmd.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			return demo.Serve(cmd.Context(), args[0], conn.DefaultURL(), log)
		},
	}
	logFlag(cmd, &level, logOff)
	return cmd
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

const chaosBankHelp = `Serve the bank that chaos runs call, until SIGTERM. Runs start it themselves; the
environment tells it what to do, as it tells a server of your own:

  RABBITMQ_URL   the broker, through a proxy
  DATABASE_URL   PostgreSQL, through a proxy
  CHAOS_SERVICE  the name of the service
  CHAOS_SERVER   the name of this server
  CHAOS_DIR      a folder of its own, that survives it
  CHAOS_STORE    its memory: postgres, bolt, lru or none
  CHAOS_ACCOUNTS how many accounts there are to begin with
  CHAOS_OPENING  what is in each of them
  CHAOS_WORK     how long each call takes besides, such as 50ms
  CHAOS_QUORUM   the delivery limit of a quorum queue; 0 for a classic queue
`

func newChaosBank() *cobra.Command {
	return &cobra.Command{
		Use:     "bank",
		Short:   "Serve the bank that chaos runs call",
		Long:    chaosBankHelp + "\n" + exitHelp,
		Example: `  CHAOS_SERVICE=bank CHAOS_SERVER=1 CHAOS_DIR=/tmp CHAOS_STORE=lru CHAOS_ACCOUNTS=9 CHAOS_OPENING=100 rabbitrpc chaos bank`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			log, err := newLogger(cmd.ErrOrStderr(), "info")
			if err != nil {
				return err
			}
			return bank.Run(ctx, log)
		},
	}
}

func newChaosGuests() *cobra.Command {
	return &cobra.Command{
		Use:    chaosGuests,
		Short:  "Call the bank, for chaos runs, which start this themselves",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return scenario.Guests(ctx)
		},
	}
}

const chaosGuests = "guests"

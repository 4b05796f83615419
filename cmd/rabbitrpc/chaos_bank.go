package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const chaosBankHelp = `Serve the bank that chaos runs call, until SIGTERM. Runs start it themselves; the
environment tells it what to do, as it tells a server of your own:

  RABBITMQ_URL   the broker, through a proxy
  DATABASE_URL   PostgreSQL, through a proxy
  CHAOS_SERVICE  the name of the service
  CHAOS_SERVER   the name of this server
  CHAOS_DIR      a folder of its own, that survives it
  CHAOS_STORE    its memory: postgres, bolt, lru or none
  CHAOS_ACCOUNTS, CHAOS_OPENING
                 how many accounts, and what is in each to begin with
  CHAOS_QUORUM   the delivery limit of a quorum queue; 0 for a classic queue
`

func newChaosBank() *cobra.Command {
	return &cobra.Command{
		Use:   "bank",
		Short: "Serve the bank that chaos runs call",
		Long:  chaosBankHelp,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return serveBank(ctx, cmd.ErrOrStderr())
		},
	}
}

func serveBank(ctx context.Context, logs io.Writer) error {
	var numbers [3]int
	for i, name := range []string{"CHAOS_QUORUM", "CHAOS_ACCOUNTS", "CHAOS_OPENING"} {
		var err error
		if numbers[i], err = strconv.Atoi(os.Getenv(name)); err != nil {
			return &hintedError{errors.New("the environment does not say which bank to serve"),
				"chaos runs start it themselves: rabbitrpc chaos run"}
		}
	}
	log, err := newLogger(logs, "info")
	if err != nil {
		return err
	}
	m, err := conn.Open(ctx, conn.DefaultURL(), conn.WithBackgroundDial(), conn.WithName(os.Getenv("CHAOS_SERVER")),
		conn.WithLogger(log), conn.WithBackoff(50*time.Millisecond, time.Second))
	if err != nil {
		return err
	}
	defer closeWithin(time.Second, m.Close)
	s, err := bank.New(ctx, m, bank.Config{
		Service: os.Getenv("CHAOS_SERVICE"), Database: os.Getenv("DATABASE_URL"), Store: os.Getenv("CHAOS_STORE"),
		File: filepath.Join(os.Getenv("CHAOS_DIR"), "calls.db"), Workers: 16, Quorum: numbers[0], Accounts: numbers[1], Opening: int64(numbers[2]), Lease: 3 * time.Second,
	}, server.WithName(os.Getenv("CHAOS_SERVER")), server.WithLogger(log))
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(ctx)
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

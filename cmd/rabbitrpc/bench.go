package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const benchHelp = `Measure calls: how many a second, how long they take, and what each costs client, server
and broker. Each is a process of its own. The broker is a private one, if --url does not
say otherwise; with --service the server is one that runs already.

Each of --mode, --callers and --size may have several values: all combinations are
measured. In each, the sides take turns, round by round, and the table shows medians.
"to raw" is the median of the ratios of neighbours, which the noise of the machine touches
least.

  mode direct   as calls are made by default; a server has two workers for each caller, 16 at least
       queued   with half as many workers as callers: what finds none waits in the queue
       durable  requests are written to disk and confirmed
       plain    as to a server that knows nothing of this library

  compare raw       a loop written by hand over the same AMQP library, without time limits
          raw-safe  the same with a durable queue, persistent requests, confirmed both ways
          self:NAME=VALUE,...  this program again, with that in its environment

With --rate so many calls begin each second, whether earlier ones are answered or not, and
what a call takes counts from when it was to begin. --callers then bounds how many run at a
time. Without, each caller makes one call after the other: then a slow server is also called
less, and its latency looks better than what users of a busy system see.

It exits with 1 if a call failed, and with 2 at once if the broker is lost.
`

const benchWorker = "bench-worker"

type benchFlags struct {
	bench.Config
	compare         []string
	env             string
	service, method string
	body            string
	output          string
	svg             string
	logLevel        string
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure calls: rate, latency and cost, beside a loop written by hand",
		Long:  benchHelp,
		Example: `  rabbitrpc bench
  rabbitrpc bench --compare raw --rounds 7
  rabbitrpc bench --mode durable --compare raw-safe --callers 16,256
  rabbitrpc bench --rate 2000 --callers 256 -o json
  rabbitrpc bench --compare raw --svg bench.svg --profile profiles
  rabbitrpc bench --service math --method fib --body 30    # a server that runs`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, f.output); err != nil {
				return err
			}
			if err := f.complete(); err != nil {
				return usagef(cmd, "%w", err)
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd.Flags())
	outputFlag(cmd, &f.output)
	logFlag(cmd, &f.logLevel, logOff)
	return cmd
}

func (f *benchFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.URL, "url", "", "URL of the broker, env for that of RABBITMQ_URL (default: a private one; with --service: env)")
	flags.StringSliceVar(&f.Modes, "mode", []string{worker.Direct}, "how calls are made: "+strings.Join(worker.Modes, ", "))
	flags.IntSliceVar(&f.Callers, "callers", []int{1, 16, 256}, "calls that run at a time")
	flags.IntSliceVar(&f.Sizes, "size", []int{16}, "bytes of a request, and of its reply")
	flags.Float64Var(&f.Rate, "rate", 0, "calls that begin each second (default: each caller makes one after the other)")
	flags.IntVar(&f.Rounds, "rounds", 3, "rounds in which the sides take turns")
	flags.DurationVar(&f.Duration, "duration", 2*time.Second, "of each side in each round")
	flags.DurationVar(&f.Warmup, "warmup", time.Second, "of each side, before the first round")
	flags.StringArrayVar(&f.compare, "compare", nil, "raw, raw-safe or self:NAME=VALUE,...; may be repeated")
	flags.StringVar(&f.env, "env", "", "environment of our own client and server: NAME=VALUE,...")
	flags.IntVar(&f.InFlight, "inflight", 0, "also measure the memory of so many calls that wait, such as 100000")
	flags.StringVar(&f.service, "service", "", "call this service, that somebody serves")
	flags.StringVar(&f.method, "method", "", "the method of that service")
	flags.StringVar(&f.body, "body", "{}", "the request for that method, in JSON")
	flags.StringVar(&f.Profiles, "profile", "", "an empty folder for profiles of clients and servers, for go tool pprof")
	flags.StringVar(&f.svg, "svg", "", "a file for the plots, as SVG")
}

// newBenchWorker is a client or a server of the benchmark, a process of its own.
func newBenchWorker() *cobra.Command {
	var level string
	cmd := &cobra.Command{
		Use:    benchWorker,
		Short:  "Call or serve, for bench, which starts this itself",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(cmd.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			return worker.Run(cmd.Context(), conn.DefaultURL(), log)
		},
	}
	logFlag(cmd, &level, logOff)
	return cmd
}

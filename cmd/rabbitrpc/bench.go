package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const benchHelp = `Measure calls.
`

const benchWorker = "bench-worker"

type benchFlags struct {
	bench.Config
	compare  []string
	env      string
	output   string
	logLevel string
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure calls: rate, latency and cost, beside a loop written by hand",
		Long:  benchHelp,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.URL, "url", "", "URL of the broker (default: a private one)")
	flags.StringSliceVar(&f.Modes, "mode", []string{bench.ModeDirect}, "how calls are made: "+strings.Join(bench.Modes, ", "))
	flags.IntSliceVar(&f.Callers, "callers", []int{1, 16, 256}, "callers, each with one call at a time")
	flags.IntSliceVar(&f.Sizes, "size", []int{16}, "bytes of request and reply")
	flags.Float64Var(&f.Rate, "rate", 0, "calls offered each second (default: each caller makes one after the other)")
	flags.IntVar(&f.Rounds, "rounds", 3, "rounds, each of all sides in turns")
	flags.DurationVar(&f.Warmup, "warmup", time.Second, "of each side, not measured")
	flags.DurationVar(&f.Duration, "duration", 2*time.Second, "of each side in a round")
	flags.StringArrayVar(&f.compare, "compare", nil, "compare with raw, raw-safe or self:NAME=VALUE,...; may be repeated")
	flags.StringVar(&f.env, "env", "", "environment of our own client and server, NAME=VALUE,...")
	flags.StringVar(&f.Profiles, "profile", "", "a folder for profiles of clients and servers")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	logFlag(cmd, &f.logLevel, logOff)
	return cmd
}

func (f *benchFlags) run(ctx context.Context, out, errs io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f.Sides = []bench.Side{{Name: "rabbitrpc", Kind: "self"}}
	if f.env != "" {
		if f.Sides[0].Env, err = bench.ParseEnv(f.env); err != nil {
			return err
		}
	}
	for _, text := range f.compare {
		side, err := bench.ParseSide(text)
		if err != nil {
			return err
		}
		f.Sides = append(f.Sides, side)
	}
	f.Command = "rabbitrpc " + strings.Join(os.Args[1:], " ")
	f.Worker = func() *exec.Cmd { return exec.Command(self, benchWorker, "--log-level", f.logLevel) }
	r, err := bench.Run(ctx, f.Config)
	if r != nil {
		r.Text(out)
	}
	return interrupted(ctx, err)
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
			return bench.Work(cmd.Context(), conn.DefaultURL(), log)
		},
	}
	logFlag(cmd, &level, logOff)
	return cmd
}

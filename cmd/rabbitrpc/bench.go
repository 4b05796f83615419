package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const benchHelp = `Measure calls: how many a second, how long they take, and what each costs client, server
and broker. Each is a process of its own. The broker is a private one, if --url does not
say otherwise; with --service the server is one that runs already.

Each of --mode, --callers and --size may have several values: all combinations are
measured. In each, the sides take turns, round by round, and the table shows medians.
"to raw" is the median of the ratios of neighbours, which the noise of the machine touches
least.

  mode direct   as calls are made by default
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

It exits with 1 if a call failed.
`

const benchWorker = "bench-worker"

// envURL stands for the URL in the environment, which no other user of the machine sees.
const envURL = "env"

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
			if err := f.complete(); err != nil {
				return usagef(cmd, "%w", err)
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.URL, "url", "", "URL of the broker, env for that of RABBITMQ_URL (default: a private one; with --service: env)")
	flags.StringSliceVar(&f.Modes, "mode", []string{bench.ModeDirect}, "how calls are made: "+strings.Join(bench.Modes, ", "))
	flags.IntSliceVar(&f.Callers, "callers", []int{1, 16, 256}, "calls that run at a time")
	flags.IntSliceVar(&f.Sizes, "size", []int{16}, "bytes of a request, and of its reply")
	flags.Float64Var(&f.Rate, "rate", 0, "calls that begin each second (default: each caller makes one after the other)")
	flags.IntVar(&f.Rounds, "rounds", 3, "rounds in which the sides take turns")
	flags.DurationVar(&f.Duration, "duration", 2*time.Second, "of each side in each round")
	flags.DurationVar(&f.Warmup, "warmup", time.Second, "of each side, before the first round")
	flags.StringArrayVar(&f.compare, "compare", nil, "raw, raw-safe or self:NAME=VALUE,...; may be given several times")
	flags.StringVar(&f.env, "env", "", "environment of our own client and server: NAME=VALUE,...")
	flags.IntVar(&f.InFlight, "inflight", 0, "also measure the memory of so many calls that wait, such as 100000")
	flags.StringVar(&f.service, "service", "", "call this service, that somebody serves")
	flags.StringVar(&f.method, "method", "", "the method of that service")
	flags.StringVar(&f.body, "body", "{}", "the request for that method, in JSON")
	flags.StringVar(&f.Profiles, "profile", "", "an empty folder for profiles of clients and servers, for go tool pprof")
	flags.StringVar(&f.svg, "svg", "", "a file for the plots, as SVG")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	logFlag(cmd, &f.logLevel, logOff)
	return cmd
}

// complete checks the flags, and makes of them what the benchmark takes.
func (f *benchFlags) complete() error {
	if err := f.check(); err != nil {
		return err
	}
	if f.service != "" {
		f.Target = &bench.Target{Service: f.service, Method: f.method, Body: []byte(f.body)}
		f.Sizes = []int{len(f.body)}
	}
	own := bench.Side{Name: "rabbitrpc", Kind: bench.KindOwn}
	if f.env != "" {
		var err error
		if own.Env, err = bench.ParseEnv(f.env); err != nil {
			return fmt.Errorf("--env: %w", err)
		}
	}
	f.Sides = []bench.Side{own}
	for _, text := range f.compare {
		side, err := bench.ParseSide(text)
		if err != nil {
			return fmt.Errorf("--compare: %w", err)
		}
		f.Sides = append(f.Sides, side)
	}
	f.Command = "rabbitrpc " + strings.Join(os.Args[1:], " ")
	if f.URL != "" {
		f.Command = strings.ReplaceAll(f.Command, f.URL, "URL") // it may have a password
	}
	if f.URL == envURL || f.URL == "" && f.Target != nil {
		f.URL = conn.DefaultURL()
	}
	return nil
}

// Bounds of what can be asked for: beyond them it is a mistake.
const (
	maxCallers  = 10_000
	maxSize     = 4 << 20 // as servers take by default
	maxInFlight = 1_000_000
	maxRate     = 1_000_000
	maxDuration = time.Hour
	minDuration = 100 * time.Millisecond
)

func (f *benchFlags) check() error {
	for _, mode := range f.Modes {
		if !slices.Contains(bench.Modes, mode) {
			return fmt.Errorf("--mode must be %s, got %q", strings.Join(bench.Modes, ", "), mode)
		}
		if f.service != "" && mode != bench.ModeDirect && mode != bench.ModeDurable {
			return fmt.Errorf("--service is for --mode direct and durable, not %s", mode)
		}
	}
	for _, n := range f.Callers {
		if n < 1 || n > maxCallers {
			return fmt.Errorf("--callers must be 1 to %d, got %d", maxCallers, n)
		}
	}
	for _, n := range f.Sizes {
		if n < 0 || n > maxSize {
			return fmt.Errorf("--size must be 0 to %d, got %d", maxSize, n)
		}
	}
	switch {
	case len(f.Modes) == 0, len(f.Callers) == 0, len(f.Sizes) == 0:
		return errors.New("--mode, --callers and --size need a value each")
	case !(f.Rate >= 0 && f.Rate <= maxRate): // nor is it NaN
		return fmt.Errorf("--rate must be up to %d, got %v", maxRate, f.Rate)
	case f.Rounds < 1 || f.Rounds > 1000:
		return fmt.Errorf("--rounds must be 1 to 1000, got %d", f.Rounds)
	case f.Duration < minDuration || f.Duration > maxDuration:
		return fmt.Errorf("--duration must be %v to %v, got %v", minDuration, maxDuration, f.Duration)
	case f.Warmup < 0 || f.Warmup > maxDuration:
		return fmt.Errorf("--warmup must be up to %v, got %v", maxDuration, f.Warmup)
	case f.InFlight < 0 || f.InFlight > maxInFlight:
		return fmt.Errorf("--inflight must be up to %d, got %d", maxInFlight, f.InFlight)
	case f.output != "text" && f.output != "json":
		return fmt.Errorf("--output must be text or json, got %q", f.output)
	}
	return f.checkTarget()
}

func (f *benchFlags) checkTarget() error {
	switch {
	case f.service == "" && f.method != "":
		return errors.New("--method is of a service: say which with --service")
	case f.service == "":
		return nil
	case f.method == "":
		return errors.New("--service needs a --method")
	case f.InFlight > 0:
		return errors.New("--inflight needs a server that keeps its calls, not one of --service")
	case !json.Valid([]byte(f.body)):
		return errors.New("--body is not JSON")
	}
	return nil
}

func (f *benchFlags) run(ctx context.Context, out, errs io.Writer) error {
	if _, err := newLogger(errs, f.logLevel); err != nil { // or each worker would say so
		return err
	}
	if f.Profiles != "" {
		if err := emptyDir(f.Profiles); err != nil {
			return err
		}
	}
	if f.URL != "" {
		if err := f.reach(ctx, errs); err != nil {
			return interrupted(ctx, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f.Worker = func() *exec.Cmd { return exec.Command(self, benchWorker, "--log-level", f.logLevel) }
	var bar *progressbar.ProgressBar
	if isTerminal(errs) {
		bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(errs), progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(20), progressbar.OptionSetPredictTime(true))
		f.Show = func(p bench.Progress) {
			bar.ChangeMax(p.Total)
			bar.Describe(p.Doing)
			bar.Set(p.Done) // it is only looked at
		}
	}
	report, err := bench.Run(ctx, f.Config)
	if bar != nil {
		bar.Finish()
	}
	if report != nil {
		err = errors.Join(err, f.write(out, report))
	}
	if err == nil && report.Failed() > 0 {
		err = fmt.Errorf("%d calls failed", report.Failed())
	}
	return interrupted(ctx, err)
}

// reach makes sure that the broker of somebody else is there, before all else.
func (f *benchFlags) reach(ctx context.Context, errs io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	log, err := newLogger(errs, f.logLevel)
	if err != nil {
		return err
	}
	m, err := open(ctx, f.URL, "rabbitrpc bench", log)
	if err != nil {
		return err
	}
	defer closeWithin(time.Second, m.Close)
	return reach(ctx, m, errs)
}

func (f *benchFlags) write(out io.Writer, r *bench.Report) error {
	if f.svg != "" {
		if err := r.WriteSVG(f.svg); err != nil {
			return fmt.Errorf("write plots: %w", err)
		}
	}
	if f.output == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.Text(out)
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

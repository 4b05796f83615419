package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	chaosreport "github.com/rabbitrpc/rabbitrpc/chaos/report"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

const chaosRunHelp = `Run scenarios one after the other, or groups of them: network, broker, server, client,
store, operations, mix, or all. Without an argument it is bank, which breaks all at random.

It starts a private RabbitMQ and a private PostgreSQL, which have to be installed, not
running, and the servers. While callers move money and ask again and again, it breaks
things; then it heals them, lets everybody come to rest, and checks the invariants over
the history of all calls. What it prints tells what was done, what callers saw, how long
it took to recover, and which invariants hold. The same is in report.html in the folder of
the run, with charts. The folder goes away if all is well, unless --dir names it.

A run in which a fault had no effect is inconclusive, and fails like a broken one. A run
with the same --seed has the same faults at the same times, though not the same calls.

With --server it runs servers of your own: a command for the shell, which is started
--servers times with what to serve in its environment. docs/chaos.md has the contract.

With --schedule it does what the file says in place of what the scenario has: what chaos
replay --shrink has printed, or steps of your own.

It exits with 0 if all invariants hold, and with 1 if one does not.
`

type chaosFlags struct {
	dir, report string
	server      string
	store       string
	schedule    string
	seed        uint64
	duration    time.Duration
	callers     int
	servers     int
	command     []string // of a run that is replayed
}

func newChaosRun() *cobra.Command {
	var f chaosFlags
	cmd := &cobra.Command{
		Use:               "run [SCENARIO...]",
		ValidArgsFunction: scenarioNames,
		Short:             "Run scenarios, and check what was promised",
		Long:              chaosRunHelp,
		Example: `  rabbitrpc chaos run
  rabbitrpc chaos run broker-killed half-open --report report.html
  rabbitrpc chaos run --duration 10m --callers 64 --seed 7
  rabbitrpc chaos run bank --server 'node server.js' --store lru`,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := f.scenarios(args)
			if err != nil {
				return usagef(cmd, "%w", err)
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			if !cmd.Flags().Changed("seed") {
				f.seed = rand.Uint64() >> 12 // exact in JSON, wherever it is read
			}
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), found)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.seed, "seed", 0, "of all that is random (default: another one each time)")
	flags.DurationVar(&f.duration, "duration", 0, "how long the faults of bank last (default: what the scenario says)")
	flags.IntVar(&f.callers, "callers", 16, "callers, each with one call at a time")
	flags.IntVar(&f.servers, "servers", 3, "servers")
	flags.StringVar(&f.store, "store", bank.StorePostgres, "the servers' memory: "+strings.Join(bank.Stores, ", "))
	flags.StringVar(&f.server, "server", "", "command of a server of your own (default: those of this program)")
	flags.StringVar(&f.schedule, "schedule", "", "file with the steps to take, as JSON; for one scenario")
	flags.StringVar(&f.dir, "dir", "", "an empty folder to keep histories, logs and reports in")
	flags.StringVar(&f.report, "report", "", "file for the report of the run, as HTML; for one scenario")
	return cmd
}

// scenarios finds those that the arguments name, and sets what the flags say of them.
func (f *chaosFlags) scenarios(args []string) ([]scenario.Scenario, error) {
	if len(args) == 0 {
		args = []string{"bank"}
	}
	var found []scenario.Scenario
	for _, name := range args {
		some, err := scenario.Find(name)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	switch {
	case f.report != "" && len(found) > 1:
		return nil, fmt.Errorf("--report is for one scenario, not for %d: see --dir", len(found))
	case f.schedule != "" && len(found) > 1:
		return nil, fmt.Errorf("--schedule is for one scenario, not for %d", len(found))
	}
	if err := f.validate(); err != nil {
		return nil, err
	}
	if f.report != "" {
		if _, err := os.Stat(filepath.Dir(f.report)); err != nil {
			return nil, fmt.Errorf("--report: %w", err)
		}
	}
	if f.schedule != "" {
		steps, err := readSchedule(f.schedule)
		if err != nil {
			return nil, err
		}
		found[0] = scheduled(found[0], steps)
		if err := found[0].Validate(f.servers); err != nil {
			return nil, fmt.Errorf("schedule %s: %w", f.schedule, err)
		}
	}
	for i := range found {
		if f.duration > 0 && found[i].Steps == nil {
			found[i].Duration = f.duration
		}
	}
	return found, nil
}

// validate tells what is wrong with the flags that each run has.
func (f *chaosFlags) validate() error {
	switch {
	case f.callers < 1 || f.callers > 1000:
		return fmt.Errorf("--callers must be 1 to 1000, got %d", f.callers)
	case f.servers < scenario.MinServers || f.servers > 20:
		return fmt.Errorf("--servers must be %d to 20, got %d", scenario.MinServers, f.servers)
	case f.duration < 0 || f.duration > scenario.MaxDuration:
		return fmt.Errorf("--duration must be up to %v, got %v", scenario.MaxDuration, f.duration)
	case !slices.Contains(bank.Stores, f.store):
		return fmt.Errorf("--store must be %s, got %q", strings.Join(bank.Stores, ", "), f.store)
	}
	return nil
}

// config makes what the scenarios have in common, and the folder for their runs.
func (f *chaosFlags) config() (scenario.Config, error) {
	c := scenario.Config{
		Dir: f.dir, Seed: f.seed, Callers: f.callers, Servers: f.servers, Store: f.store,
		Pace: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	var err error
	if c.Dir == "" {
		c.Dir, err = os.MkdirTemp("", "rabbitrpc-chaos-run-")
	} else {
		err = emptyDir(c.Dir)
	}
	if err != nil {
		return c, fmt.Errorf("make the folder of the run: %w", err)
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, err
	}
	self, err := os.Executable()
	if err != nil {
		return c, fmt.Errorf("find this program: %w", err)
	}
	c.Guests = []string{self, "chaos", chaosGuests}
	switch {
	case f.command != nil:
		c.Server = f.command
	case f.server != "":
		c.Server = append(slices.Clone(shell), "exec "+f.server)
	default:
		c.Server = append([]string{self}, bankCommand...)
	}
	return c, nil
}

// shell is what runs a server of the user's.
var shell = []string{"/bin/sh", "-c"}

// bankCommand are the arguments with which this program is a server.
var bankCommand = []string{"chaos", "bank"}

func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty", dir)
	}
	return err
}

func (f *chaosFlags) run(ctx context.Context, out, errs io.Writer, found []scenario.Scenario) (err error) {
	c, err := f.config()
	if err != nil {
		return err
	}
	var bad []string
	defer func() {
		switch {
		case f.dir != "":
		case err == nil, errors.Is(err, errInterrupted) && bad == nil:
			os.RemoveAll(c.Dir)
		default:
			os.Remove(c.Dir) // if nothing has come to be in it
		}
	}()
	var p progress
	c.Watch = p.watch
	fmt.Fprintf(out, "seed %d; starting a private RabbitMQ and a private PostgreSQL\n", c.Seed)
	lab, err := scenario.OpenLab(ctx, c)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	skipped := 0
	for _, s := range found {
		p.show = chaosreport.NewProgress(errs, columns(errs))
		r, err := lab.Run(ctx, s)
		p.show.Done()
		if len(found) > 1 && errors.Is(err, chaos.ErrNoNamespace) {
			skipped++
			fmt.Fprintf(out, "SKIPPED: %v\n\n", err)
			continue
		}
		if err != nil {
			return interrupted(ctx, fmt.Errorf("%w; logs are in %s", err, c.Dir))
		}
		if err := f.show(out, r); err != nil {
			return err
		}
		if r.Err() != nil {
			bad = append(bad, s.Name)
			fmt.Fprintf(out, "replay it:          rabbitrpc chaos replay %s\n", r.Dir)
			fmt.Fprintf(out, "find the few faults that it takes: rabbitrpc chaos replay --shrink %s\n\n", r.Dir)
		}
	}
	if skipped == len(found) {
		return errors.New("all scenarios were skipped: nothing was run")
	}
	if bad != nil {
		return fmt.Errorf("%d of %d scenarios failed: %s; all that is known is in %s", len(bad), len(found), strings.Join(bad, ", "), c.Dir)
	}
	return nil
}

func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// show prints the summary of a run, and writes its reports.
func (f *chaosFlags) show(out io.Writer, r *scenario.Result) error {
	if err := chaosreport.Text(out, r.History, r.Verdicts); err != nil {
		return err
	}
	fmt.Fprintln(out)
	files := []string{filepath.Join(r.Dir, "report.html")}
	if f.report != "" {
		files = append(files, f.report)
	}
	for _, name := range files {
		if err := writeReport(name, r); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

func writeReport(name string, r *scenario.Result) error {
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(chaosreport.HTML(w, r.History, r.Verdicts), w.Close())
}

// progress shows how a run goes.
type progress struct{ show *chaosreport.Progress }

func (p *progress) watch(s scenario.Status) {
	p.show.Show(chaosreport.State{
		Elapsed: s.Elapsed, Total: s.Total, Phase: s.Scenario + ": " + s.Phase,
		OK: s.OK, Rejected: s.Rejected, Failed: s.Failed, Ambiguous: s.Ambiguous, Faults: s.Faults,
	})
}

// columns is how wide a terminal is, 0 for what is none.
func columns(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || !isTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 80
	}
	return width
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

const chaosReplayHelp = `Run once more what the history in DIR tells of: the same faults at the same times, with
the same seed, callers and servers. Real processes do not take the same steps twice, so
that what failed once may need several tries.

With --shrink it looks for the few faults that it takes: it leaves out more and more of
the schedule, as long as the run fails, and prints the shortest one that did.

With --check it runs nothing: it checks the history again, and writes its report anew.

It exits with 0 if all invariants hold, and with 1 if one does not.
`

const shrinkTries = 30

func newChaosReplay() *cobra.Command {
	var f chaosFlags
	var shrink, only bool
	cmd := &cobra.Command{
		Use:   "replay DIR",
		Short: "Run the faults of a run once more",
		Long:  chaosReplayHelp,
		Example: `  rabbitrpc chaos replay ./run/bank
  rabbitrpc chaos replay --shrink ./run/bank`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "want the folder of one scenario's run, got %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			h, err := readHistory(args[0])
			if err != nil {
				return err
			}
			switch {
			case only:
				r := &scenario.Result{Dir: args[0], History: h, Verdicts: check.All(h)}
				return errors.Join(f.show(cmd.OutOrStdout(), r), r.Err())
			case shrink:
				return f.shrink(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), h)
			}
			s, err := f.of(h)
			if err != nil {
				return err
			}
			return f.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), []scenario.Scenario{s})
		},
	}
	cmd.Flags().StringVar(&f.dir, "dir", "", "an empty folder to keep histories, logs and reports in")
	cmd.Flags().StringVar(&f.report, "report", "", "file for the report of the run, as HTML")
	cmd.Flags().BoolVar(&shrink, "shrink", false, fmt.Sprintf("find the few faults that it takes, in up to %d runs", shrinkTries))
	cmd.Flags().BoolVar(&only, "check", false, "run nothing: check the history again")
	return cmd
}

func readHistory(dir string) (*history.History, error) {
	file, err := os.Open(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("%w; DIR is the folder of one scenario, with a history.jsonl", err)
	}
	defer file.Close()
	return history.Read(file)
}

// of sets the flags to what they were for a run, and returns its scenario with the schedule that it had.
func (f *chaosFlags) of(h *history.History) (scenario.Scenario, error) {
	found, err := scenario.Find(h.Run.Scenario)
	if err != nil {
		return scenario.Scenario{}, err
	}
	s := found[0]
	s.Steps = []scenario.Step{}
	if err := json.Unmarshal(h.Run.Schedule, &s.Steps); err != nil {
		return s, fmt.Errorf("read the schedule in the history: %w", err)
	}
	for _, p := range h.Phases {
		if p.Name == "faults" {
			s.Duration = (p.To - p.From).Truncate(time.Second)
		}
	}
	f.seed, f.callers, f.servers, f.store = h.Run.Seed, h.Run.Callers, len(h.Run.Servers), h.Run.Store
	if ours := len(h.Run.Command) == 3 && slices.Equal(h.Run.Command[1:], bankCommand); !ours { // this program may be elsewhere now
		f.command = h.Run.Command
	}
	return s, nil
}

// shrink looks for a smaller schedule that fails too.
func (f *chaosFlags) shrink(ctx context.Context, out, errs io.Writer, h *history.History) (err error) {
	s, err := f.of(h)
	if err != nil {
		return err
	}
	c, err := f.config()
	if err != nil {
		return err
	}
	if f.dir == "" {
		defer os.RemoveAll(c.Dir)
	}
	lab, err := scenario.OpenLab(ctx, c)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	tries, smallest := 0, ""
	least := scenario.Shrink(s.Steps, shrinkTries, func(steps []scenario.Step) bool {
		if ctx.Err() != nil {
			return false
		}
		tries++
		try := s
		try.Steps, try.Duration = steps, 0
		r, err := lab.Run(ctx, try)
		switch {
		case err != nil:
			fmt.Fprintf(errs, "try %d, %d faults: %v\n", tries, len(steps), err)
			return false
		case r.Err() != nil:
			fmt.Fprintf(errs, "try %d, %d faults: %v\n", tries, len(steps), r.Err())
			smallest = r.Dir
			return true
		}
		fmt.Fprintf(errs, "try %d, %d faults: passed\n", tries, len(steps))
		return false
	})
	if ctx.Err() != nil {
		return errInterrupted
	}
	switch {
	case smallest == "":
		fmt.Fprintf(out, "in %d runs none with fewer faults has failed\n", tries)
	case f.dir != "":
		fmt.Fprintf(out, "replay it:          rabbitrpc chaos replay %s\n", smallest)
	}
	fmt.Fprintf(out, "%d of %d faults are left:\n", len(least), len(s.Steps))
	for _, step := range least {
		fmt.Fprintf(out, "  at %v for %v  %v\n", time.Duration(step.At), time.Duration(step.For), step)
	}
	text, err := json.Marshal(least)
	fmt.Fprintf(out, "%s\n", text)
	return err
}

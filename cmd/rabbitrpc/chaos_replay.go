package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

const chaosReplayHelp = `Run once more what the history in DIR tells of: the same faults at the same times, with
the same seed, callers and servers. The command that does the same is printed first.
Real processes do not take the same steps twice, so that what failed once may need
several tries.

With --shrink it looks for the few faults that it takes: it leaves out more and more of
the schedule, as long as an invariant is broken that was broken before, and prints the
shortest one that did it, for chaos run --schedule.

With --check it runs nothing: it checks the history again, and writes its report anew.

It exits with 0 if all invariants hold, and with 1 if one does not.
`

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
			fmt.Fprintf(cmd.OutOrStdout(), "the run was:        %s\n", commandOf(h))
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
	h, err := history.Read(file)
	if err == nil && h.Run.Scenario == "" {
		err = fmt.Errorf("%s does not say what was run: it is empty, or no history of a chaos run", file.Name())
	}
	return h, err
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
	s.Duration, s.MustBite = faultsOf(h), h.Run.MustBite
	f.seed, f.callers, f.servers, f.store, f.duration = h.Run.Seed, h.Run.Callers, len(h.Run.Servers), h.Run.Store, s.Duration
	if !ownServers(h) {
		f.command = h.Run.Command
	}
	if err := errors.Join(f.validate(), s.Validate(f.servers)); err != nil {
		return s, fmt.Errorf("the history is not one to replay: %w", err)
	}
	return s, nil
}

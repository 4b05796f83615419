package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

const shrinkTries = 30

// A shrinking looks for a smaller schedule that breaks what a run has broken.
type shrinking struct {
	lab      *scenario.Lab
	scenario scenario.Scenario
	broken   []string // invariants
	errs     io.Writer
	tries    int
	smallest string // folder of the last try that failed
}

// shrink looks for a smaller schedule that fails as the run did.
func (f *chaosFlags) shrink(ctx context.Context, out, errs io.Writer, h *history.History) (err error) {
	broken := brokenBy(check.All(h))
	if broken == nil {
		return errors.New("no invariant is broken in that run: there is nothing to look for")
	}
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
	look := shrinking{lab: lab, scenario: s, broken: broken, errs: errs}
	least := scenario.Shrink(s.Steps, shrinkTries, func(steps []scenario.Step) bool { return look.fails(ctx, steps) })
	switch {
	case ctx.Err() != nil && look.smallest == "":
		return errInterrupted
	case len(least) == 0:
		fmt.Fprintln(out, "it takes no fault: the same is broken in a run without any")
		return interrupted(ctx, nil)
	case look.smallest == "":
		fmt.Fprintf(out, "in %d runs none with fewer faults has failed\n", look.tries)
	case f.dir != "":
		fmt.Fprintf(out, "replay it:          rabbitrpc chaos replay %s\n", look.smallest)
	}
	fmt.Fprintf(out, "%d of %d faults are left:\n", len(least), len(s.Steps))
	for _, step := range least {
		fmt.Fprintf(out, "  at %v for %v  %v\n", time.Duration(step.At), time.Duration(step.For), step)
	}
	text, err := json.Marshal(least)
	h.Run.Schedule = text
	fmt.Fprintf(out, "run them, with the line below in FILE: %s\n%s\n", commandOf(h), text)
	return interrupted(ctx, err)
}

// fails runs steps, and reports whether that breaks an invariant which the run has broken: that a smaller schedule shows less, or
// breaks something else, is no failure of the same kind.
func (l *shrinking) fails(ctx context.Context, steps []scenario.Step) bool {
	if ctx.Err() != nil {
		return false
	}
	l.tries++
	r, err := l.lab.Run(ctx, scheduled(l.scenario, steps))
	if err != nil {
		fmt.Fprintf(l.errs, "try %d, %d faults: %v\n", l.tries, len(steps), err)
		return false
	}
	again := shared(l.broken, brokenBy(r.Verdicts))
	what := cmp.Or(strings.Join(again, ", "), "none of "+strings.Join(l.broken, ", "))
	fmt.Fprintf(l.errs, "try %d, %d faults: %s broken\n", l.tries, len(steps), what)
	if again == nil {
		return false
	}
	l.smallest = r.Dir
	return true
}

// brokenBy names the invariants that are broken.
func brokenBy(verdicts []check.Verdict) (names []string) {
	for _, v := range verdicts {
		if v.Result == check.Broken {
			names = append(names, v.Invariant)
		}
	}
	return names
}

// shared returns what of a is in b too.
func shared(a, b []string) (both []string) {
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}

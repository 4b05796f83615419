package scenario

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// A step that comes late, since another one took so long with the same process, takes its time nevertheless: else it shows nothing.
func TestLateStepLasts(t *testing.T) {
	before := actions
	defer func() { actions = before }()
	actions = append(slices.Clone(actions), action{"store", "test", "", func(context.Context, *run, Step) (func(context.Context) error, error) {
		return func(ctx context.Context) error { wait(ctx, 100*time.Millisecond); return nil }, nil
	}})
	w, err := history.Create(filepath.Join(t.TempDir(), "history.jsonl"), history.Run{})
	if err != nil {
		t.Fatal(err)
	}
	const long = 300 * time.Millisecond
	steps := []Step{at(0, "store", "test", 0), at(20*time.Millisecond, "store", "test", long)}
	if err := (&run{history: w}).unleash(t.Context(), steps, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	h, err := w.Close()
	if err != nil || len(h.Faults) != 2 {
		t.Fatalf("got %+v, %v, want two faults", h, err)
	}
	if last := h.Faults[1]; last.To-last.From < long {
		t.Errorf("the late one took %v, want %v", last.To-last.From, long)
	}
}

// What a step has done is in the history. Only one that cannot be healed ends the run.
func TestStepIsRecorded(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name        string
		do, healing error
		bites       int
		fault       string // error in the history
		ends        bool
	}{
		{name: "bites", bites: 1},
		{name: "no effect", healing: errNoEffect},
		{name: "no effects counted", healing: effects(0)(t.Context())},
		{name: "effects counted", healing: effects(3)(t.Context()), bites: 1},
		{name: "cannot be done", do: broken, fault: "broken"},
		{name: "cannot be healed", healing: broken, bites: 1, ends: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := actions
			defer func() { actions = before }()
			actions = append(slices.Clone(actions), action{"store", "test", "", func(context.Context, *run, Step) (func(context.Context) error, error) {
				return func(context.Context) error { return tt.healing }, tt.do
			}})
			w, err := history.Create(filepath.Join(t.TempDir(), "history.jsonl"), history.Run{})
			if err != nil {
				t.Fatal(err)
			}
			r := &run{history: w}
			err = r.unleash(t.Context(), []Step{at(0, "store", "test", 0)}, time.Millisecond)
			if ends := err != nil; ends != tt.ends || ends && !strings.Contains(err.Error(), "heal store: test") {
				t.Errorf("got %v, want the end of the run: %v", err, tt.ends)
			}
			h, err := w.Close()
			if err != nil || len(h.Faults) != 1 {
				t.Fatalf("got %+v, %v, want one fault", h, err)
			}
			if f := h.Faults[0]; f.Bites != tt.bites || f.Error != tt.fault {
				t.Errorf("got %d bites, error %q, want %d, %q", f.Bites, f.Error, tt.bites, tt.fault)
			}
		})
	}
}

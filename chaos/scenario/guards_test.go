package scenario_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/internal/mutant"
)

// With each of the guards taken away, a run with real processes finds that out, and says which invariant is broken. Without
// that its silence would mean nothing.
func TestGuards(t *testing.T) {
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("takes minutes: set RABBITRPC_LONG")
	}
	for _, c := range []struct {
		mutant, scenario string
		broken           []string // one of these, at least
		args             []string
	}{
		{"", "bank", nil, nil}, // or what follows would mean nothing
		{"dedupe", "duplicates", []string{"I5", "I7"}, nil},
		{"postgres-fencing", "servers-frozen", []string{"I5", "I7", "I2"}, nil},
		{"postgres-deadline", "servers-frozen", []string{"I5", "I4", "I8"}, nil},
		{"ack-before-reply", "servers-killed", []string{"I8", "I9", "I21", "I2"}, nil},
		{"register-before-publish", "reset", []string{"I8", "I9"}, nil},
		{"amqp-session-bound-acks", "reset", []string{"I19", "I9", "I8"}, nil},
	} {
		t.Run(c.mutant+" "+c.scenario, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			binary, err := mutant.Build(ctx, dir, c.mutant, "./cmd/rabbitrpc")
			if err != nil {
				t.Fatal(err)
			}
			runs := filepath.Join(dir, "runs")
			cmd := exec.CommandContext(ctx, binary, append([]string{"chaos", "run", c.scenario, "--dir", runs, "--seed", "1"}, c.args...)...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			err = cmd.Run()
			if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
				t.Fatal(err)
			}
			f, err := os.Open(filepath.Join(runs, c.scenario, "history.jsonl"))
			if err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			defer f.Close()
			h, err := history.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			var broken []string
			for _, v := range check.All(h) {
				if v.Result == check.Broken {
					broken = append(broken, v.Invariant)
				}
			}
			t.Logf("%s in %s: %d calls, broken: %s", c.mutant, c.scenario, len(h.Calls), strings.Join(broken, " "))
			found := slices.ContainsFunc(c.broken, func(i string) bool { return slices.Contains(broken, i) })
			if c.broken == nil && broken != nil || c.broken != nil && !found {
				t.Errorf("broken: %v, want one of %v\n%s", broken, c.broken, &out)
			}
		})
	}
}

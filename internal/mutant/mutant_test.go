package mutant

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTable fails where a guard does not look as the table has it.
func TestTable(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, m := range All {
		if _, err := m.texts(root); err != nil {
			t.Error(err)
		}
		if seen[m.Name] || m.Guard == "" || m.Breaks == "" {
			t.Errorf("mutant %q is there twice, or lacks something", m.Name)
		}
		seen[m.Name] = true
	}
}

func TestNoSuchMutant(t *testing.T) {
	if _, err := Overlay(t.TempDir(), "x"); err == nil {
		t.Error("made a mutant that there is none of")
	}
}

// seeds is in how many each mutant must be found out. Most need a few, some need hundreds for what must come together; what a
// seed comes to is not the same in each run.
const seeds = 5000

// TestMutants has the simulation find out each mutant.
func TestMutants(t *testing.T) {
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("takes minutes: RABBITRPC_LONG=1")
	}
	var mu sync.Mutex // guards rows
	rows := make([]string, len(All))
	t.Cleanup(func() {
		t.Logf("\n| guard | invariant that breaks | seeds needed |\n|---|---|---|\n%s", strings.Join(rows, ""))
	})
	for i, m := range All {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if m.Real {
				if err := compiles(t.Context(), t.TempDir(), m.Name); err != nil {
					t.Error(err)
				}
				rows[i] = fmt.Sprintf("| %s | %s | with real servers |\n", m.Guard, m.Breaks)
				return
			}
			binary, err := BuildTest(t.Context(), t.TempDir(), m.Name, "./internal/simulation")
			if err != nil {
				t.Fatal(err)
			}
			broken, seed, out := simulate(t.Context(), binary)
			if !slices.ContainsFunc(broken, func(i string) bool { return slices.Contains(strings.Fields(m.Breaks), i) }) {
				t.Errorf("%s: %v broke at seed %d, want one of %s\n%s", m.Guard, broken, seed, m.Breaks, out)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			rows[i] = fmt.Sprintf("| %s | %s | %d |\n", m.Guard, strings.Join(broken, ", "), seed+1)
		})
	}
}

// compiles builds the command as a mutant.
func compiles(ctx context.Context, dir, name string) error {
	_, err := Build(ctx, dir, name, "./cmd/rabbitrpc")
	return err
}

var (
	violation = regexp.MustCompile(`seed (\d+): (I\d+): .*`)
	started   = regexp.MustCompile(`(?m)^=== RUN +TestSimulation/seed_(\d+)$`)
)

// simulate runs seed after seed until one fails, and returns what broke there.
func simulate(ctx context.Context, binary string) (broken []string, seed int, out string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binary, "-test.run", "^TestSimulation$", "-test.failfast", "-test.parallel", "1", "-test.v", "-test.timeout", "4m")
	c.Env = append(os.Environ(), "RABBITRPC_SEEDS="+strconv.Itoa(seeds))
	b, err := c.CombinedOutput()
	if err == nil {
		return nil, seeds, "all passed"
	}
	for _, match := range violation.FindAllSubmatch(b, -1) {
		out += string(match[0]) + "\n"
		seed, _ = strconv.Atoi(string(match[1]))
		if invariant := string(match[2]); !slices.Contains(broken, invariant) {
			broken = append(broken, invariant)
		}
	}
	if broken == nil && (bytes.Contains(b, []byte("deadlock")) || bytes.Contains(b, []byte("test timed out"))) {
		broken = []string{"I10"} // goroutines are left
		if runs := started.FindAllSubmatch(b, -1); runs != nil {
			seed, _ = strconv.Atoi(string(runs[len(runs)-1][1]))
		}
	}
	slices.Sort(broken)
	return broken, seed, out + string(b[max(0, len(b)-3000):])
}

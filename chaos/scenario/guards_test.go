package scenario_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
	"github.com/rabbitrpc/rabbitrpc/internal/mutant"
)

// trials are runs that rest on a few guards each.
var trials = []scenario.Scenario{
	// Callers send again what the one server has executed.
	{Name: "resent", Store: bank.StoreLRU, Servers: 1, Promise: history.ExactlyOnce, MustBite: []string{"replays"}, Steps: lines("callers",
		chaos.Reset{}, chaos.Cut{Method: "basic.deliver", Bytes: 10}, chaos.Duplicate{Method: "basic.publish"}, chaos.Reset{})},
	{Name: "resent-patiently", Timeout: 5 * time.Second, MustBeOK: true, Steps: lines("callers", chaos.Reset{})},
	// A server is frozen in the middle of calls. The broker gives its requests to another, which is in the middle of them when it wakes up.
	{Name: "zombie", Work: 2500 * time.Millisecond, MustBite: []string{"freeze"}, Recovery: 20 * time.Second, Steps: []scenario.Step{
		{At: scenario.Span(time.Second), Target: "server-1", Fault: "freeze", For: scenario.Span(4500 * time.Millisecond)},
		{At: scenario.Span(7 * time.Second), Target: "server-2", Fault: "freeze", For: scenario.Span(4500 * time.Millisecond)},
	}},
	// Servers are killed, and no call is lost. With such a timeout there is no time to find out that one is, and to send it again.
	{Name: "killed", Timeout: 5 * time.Second, MustBeOK: true, MustBite: []string{"resends"}, Steps: kills(6)},
	// Servers lose their sessions in the middle of calls, and no call is lost.
	{Name: "sessions-lost", Timeout: 5 * time.Second, Work: 300 * time.Millisecond, MustBeOK: true, Steps: lines("servers",
		chaos.Reset{}, chaos.Reset{}, chaos.Reset{}, chaos.Reset{}, chaos.Reset{})},
}

func lines(target string, faults ...chaos.Fault) (steps []scenario.Step) {
	for i, f := range faults {
		steps = append(steps, scenario.Step{
			At: scenario.Span(i) * scenario.Span(time.Second), For: scenario.Span(500 * time.Millisecond), Target: target, Fault: "line",
			Line: chaos.AnyFault{Fault: f},
		})
	}
	return steps
}

func kills(n int) (steps []scenario.Step) {
	for i := range n {
		steps = append(steps, scenario.Step{
			At: scenario.Span(i) * scenario.Span(700*time.Millisecond), For: scenario.Span(200 * time.Millisecond),
			Target: []string{"server-1", "server-2", "server-3"}[i%3], Fault: "kill",
		})
	}
	return steps
}

func long(t *testing.T) {
	t.Helper()
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("takes minutes: set RABBITRPC_LONG")
	}
}

func TestTrials(t *testing.T) {
	long(t)
	for _, s := range trials {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel() // most of the time all wait
			run(t, openLab(t, scenario.Config{Seed: 1, Callers: 12, Store: bank.StorePostgres}), s)
		})
	}
}

// With each of these guards taken away a run with real processes finds that out, and says which invariant is broken. Without
// that its silence would mean nothing.
func TestGuards(t *testing.T) {
	long(t)
	for _, c := range []struct {
		mutant, trial string
		broken        []string // one of these, at least
	}{
		{"dedupe", "resent", []string{"I5", "I7"}},
		{"postgres-claim", "zombie", []string{"I5"}},
		{"amqp-ack-before-reply", "killed", []string{"I21"}},
		{"amqp-register-before-publish", "resent-patiently", []string{"I21", unread}},
		{"amqp-session-bound-acks", "sessions-lost", []string{"I19", "I21", unread}},
	} {
		t.Run(c.mutant, func(t *testing.T) {
			t.Parallel()
			var env []string
			if c.mutant == "amqp-session-bound-acks" {
				env = append(os.Environ(), "RABBITRPC_DATAPLANE=off") // it is one of the AMQP library's way
			}
			broken, out := brokenBy(t, c.mutant, "./chaos/scenario", "^TestTrials$/^"+c.trial+"$", env)
			t.Logf("%s: %s shows that %v are broken", c.mutant, c.trial, broken)
			if !slices.ContainsFunc(c.broken, func(i string) bool { return slices.Contains(broken, i) }) {
				t.Errorf("broken: %v, want one of %v\n%s", broken, c.broken, out)
			}
		})
	}
}

// The guards of PostgreSQL that a run would need minutes to miss: the store's own tests do.
func TestGuardsOfPostgres(t *testing.T) {
	long(t)
	for mutant, test := range map[string]string{
		"postgres-deadline": "TestDeadlinePassesDuringBegin",
		"postgres-fencing":  "TestFrozenHolder",
	} {
		_, out := brokenBy(t, mutant, "./idempotency/postgres", "^"+test+"$", nil)
		if !bytes.Contains(out, []byte("--- FAIL: "+test)) {
			t.Errorf("%s: %s did not fail\n%s", mutant, test, out)
		}
	}
}

// unread is for a run that could not be judged, since nobody answered when all was over, and should have been well.
const unread = "unread"

var (
	verdict     = regexp.MustCompile(`(?m)^ +(I\d+) +BROKEN`)
	cannotJudge = regexp.MustCompile(`: read (ledger|accounts): .*(no reply in time|no server took the request)`)
)

// brokenBy runs a test of a mutant, and returns the invariants that it says are broken. Without an env it has this process's.
func brokenBy(t *testing.T, name, pkg, test string, env []string) (broken []string, out []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	binary, err := mutant.BuildTest(ctx, t.TempDir(), name, pkg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, binary, "-test.run", test, "-test.v")
	cmd.Env = env
	out, err = cmd.CombinedOutput()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	for _, m := range verdict.FindAllSubmatch(out, -1) {
		broken = append(broken, string(m[1]))
	}
	if cannotJudge.Match(out) {
		broken = append(broken, unread)
	}
	return broken, bytes.TrimSpace(out)
}

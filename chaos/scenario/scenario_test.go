package scenario_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/chaos/report"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

// This test binary is also the servers and the guests of its runs.
const roleServer, roleGuests = "server", "guests"

func TestMain(m *testing.M) {
	if len(os.Args) != 2 || os.Args[1] != roleServer && os.Args[1] != roleGuests {
		goleak.VerifyTestMain(m)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	if os.Args[1] == roleServer {
		err = bank.Run(ctx, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	} else {
		err = scenario.Guests(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func openLab(t *testing.T, c scenario.Config) *scenario.Lab {
	t.Helper()
	c.Dir, c.Servers, c.Pace = t.TempDir(), 3, 20*time.Millisecond
	if c.Server == nil {
		c.Server = []string{os.Args[0], roleServer}
	}
	c.Guests = []string{os.Args[0], roleGuests}
	c.Log = slog.New(slog.DiscardHandler)
	lab, err := scenario.OpenLab(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

func run(t *testing.T, lab *scenario.Lab, s scenario.Scenario) *scenario.Result {
	t.Helper()
	r, err := lab.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r.Err() != nil {
		var text strings.Builder
		if err := report.Text(&text, r.History, r.Verdicts); err != nil {
			t.Error(err)
		}
		t.Errorf("%v\n%s", r.Err(), &text)
	}
	return r
}

// Each kind of fault comes once, one after the other, in one run: what was promised holds, and each has had an effect.
func TestEachFaultOnce(t *testing.T) {
	lab := openLab(t, scenario.Config{Seed: 1, Callers: 8, Store: bank.StorePostgres})
	s := scenario.Scenario{Name: "once", Group: "mix", Recovery: 20 * time.Second, Guests: 2, Lateness: 2 * time.Second}
	next := func(target, fault string, long time.Duration, line chaos.Fault) {
		s.Steps = append(s.Steps, scenario.Step{
			At: scenario.Span(s.Duration), For: scenario.Span(long), Target: target, Fault: fault, Line: chaos.AnyFault{Fault: line},
		})
		s.Duration += long + 200*time.Millisecond
	}
	const short, beyond = 300 * time.Millisecond, 3 * time.Second // beyond the heartbeats
	next("callers", "line", 0, chaos.Reset{})
	next("servers", "line", 0, chaos.HangUp{})
	next("callers", "line", short, chaos.Cut{Method: "basic.publish", Bytes: 20})
	next("callers", "line", time.Second, chaos.Latency{Delay: 100 * time.Millisecond})
	next("callers", "line", short, chaos.Stall{})
	next("callers", "line", short, chaos.Duplicate{Method: "basic.publish"})
	next("callers", "line", short, chaos.Drop{Method: "basic.ack", Dir: chaos.ToClient})
	next("callers", "line", beyond, chaos.HalfOpen{})
	next("server-1", "kill", short, nil)
	next("server-2", "crash", 0, nil)
	next("server-3", "drain", 0, nil)
	next("server-1", "freeze", beyond, nil)
	next("guests", "kill", short, nil)
	next("store", "kill", short, nil)
	next("store", "slow", short, nil)
	next("store", "cut", 0, nil)
	next("service", "delete-queue", 0, nil)
	next("broker", "memory-alarm", short, nil)
	next("broker", "close-connections", 0, nil)
	next("broker", "kill", 0, nil)
	s.Steps = append(s.Steps, scenario.Step{At: scenario.Span(s.Duration), Target: "guests", Fault: "kill"}) // just when the faults end
	r := run(t, lab, s)
	for _, what := range []string{"reconnects", "resends", "replays", "lost calls"} {
		n := r.History.Happened(what)
		t.Logf("%s: %d", what, n)
		if n == 0 && what != "lost calls" {
			t.Errorf("no %s: the test shows nothing", what)
		}
	}
	filed(t, r)
}

// filed checks what a run leaves to those who look for what went wrong.
func filed(t *testing.T, r *scenario.Result) {
	t.Helper()
	for _, name := range []string{"history.jsonl", "broker.log", "postgres.log", "server-1/server.log", "guests/life-1.jsonl"} {
		if info, err := os.Stat(filepath.Join(r.Dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, or it is empty", name, err)
		}
	}
	f, err := os.Open(filepath.Join(r.Dir, "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := history.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Calls) != len(r.History.Calls) || len(h.Faults) != len(r.Scenario.Steps) || h.Run.Seed != 1 {
		t.Errorf("the file has %d calls and %d faults, want %d and %d", len(h.Calls), len(h.Faults), len(r.History.Calls), len(r.Scenario.Steps))
	}
	if phases := []string{"warm up", "faults", "quiesce", "drain", "check"}; !slices.EqualFunc(h.Phases, phases,
		func(p history.Phase, name string) bool { return p.Name == name }) {
		t.Errorf("phases %v, want %v", h.Phases, phases)
	}
}

// A server that ends at its start is an error that shows what it said.
func TestServerThatCannotServe(t *testing.T) {
	lab, err := scenario.OpenLab(t.Context(), scenario.Config{
		Dir: t.TempDir(), Callers: 1, Servers: 3, Store: bank.StoreNone, Pace: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Server: []string{"/bin/sh", "-c", "echo no licence; exit 3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	found, err := scenario.Find("reset")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Run(t.Context(), found[0]); err == nil || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("got %v, want what the server said", err)
	}
}

// A server that was asked to end, and does not end well, is found out.
func TestBadEnd(t *testing.T) {
	long(t)
	const script = `"$0" server & trap 'kill -TERM $!; wait $!; exit 3' TERM; wait $!`
	lab, err := scenario.OpenLab(t.Context(), scenario.Config{
		Dir: t.TempDir(), Seed: 1, Callers: 2, Servers: 1, Store: bank.StoreLRU, Pace: 20 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler), Server: []string{"/bin/sh", "-c", script, os.Args[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	r, err := lab.Run(t.Context(), scenario.Scenario{Name: "bad-end", Steps: lines("callers", chaos.Reset{})})
	if err != nil {
		t.Fatal(err)
	}
	if r.Err() == nil || len(r.History.Findings) != 1 || r.History.Findings[0].Kind != "bad end" {
		t.Errorf("got %v, %+v, want one bad end", r.Err(), r.History.Findings)
	}
}

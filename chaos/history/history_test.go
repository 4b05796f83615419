package history_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// What is written is read, record for record.
func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	w, err := history.Create(path, history.Run{Scenario: "reset", Seed: 7, Schedule: json.RawMessage(`[]`)})
	if err != nil {
		t.Fatal(err)
	}
	w.Phase(history.Phase{Name: "faults", From: time.Second, To: 2 * time.Second})
	w.Fault(history.Fault{Name: "kill", Target: "broker", Bites: 1})
	w.Session(history.Session{At: time.Second, Process: "callers"})
	w.Sample(history.Sample{At: time.Second, Value: map[string]float64{"dials": 3}})
	w.Inventory(history.Inventory{When: "end", Count: map[string]int{"queues": 1}})
	w.Entry(history.Entry{Seq: 1, Call: "1", Tag: "t"})
	w.Finding(history.Finding{Kind: "panic", Where: "x"})
	w.Balances([]int64{1, 2})
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for range 100 {
				w.Call(history.Call{ID: string(rune('a' + i)), Outcome: history.OK, Output: json.RawMessage(`{"a":1}`)})
			}
		})
	}
	callers.Wait()
	want, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := history.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	want.Run.Started = want.Run.Started.Round(0) // the monotonic clock is not written
	if got.Run.Started.Equal(want.Run.Started) {
		got.Run.Started = want.Run.Started
	}
	if !reflect.DeepEqual(got, want) || len(got.Calls) != 800 {
		t.Errorf("got %d calls, %+v\nwant %+v", len(got.Calls), got.Run, want.Run)
	}
}

func TestCreateKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Create(path, history.Run{}); err == nil {
		t.Error("a history was written over another")
	}
	if _, err := history.Join(path, time.Now()); err == nil {
		t.Error("a part was written over another")
	}
}

// A process that is killed leaves all lines that it has written, and maybe a part of one.
func TestKilledWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "life.jsonl")
	start := time.Now().Add(-time.Hour)
	w, err := history.Join(path, start)
	if err != nil {
		t.Fatal(err)
	}
	if d := w.Since(); d < time.Hour || d > time.Hour+time.Minute {
		t.Errorf("the time of the run is %v, want an hour", d)
	}
	w.Call(history.Call{ID: "1", Outcome: history.Lost})
	text, err := os.ReadFile(path) // and no Close
	if err != nil {
		t.Fatal(err)
	}
	h, err := history.Read(strings.NewReader(string(text) + `{"call":{"id":"2"`))
	if err != nil || len(h.Calls) != 1 || h.Calls[0].ID != "1" {
		t.Errorf("got %+v, %v, want the call that was written", h, err)
	}
	if _, err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadRefuses(t *testing.T) {
	_, err := history.Read(strings.NewReader("{}\n{\"call\":7}\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v, want an error that names the line", err)
	}
}

func TestHappened(t *testing.T) {
	h := &history.History{
		Faults:   []history.Fault{{Name: "kill", Bites: 2}, {Name: "kill", Bites: 1}, {Name: "cut"}},
		Sessions: []history.Session{{Process: "a"}, {Process: "b"}, {Process: "a"}},
		Calls: []history.Call{
			{Attempts: 3, Outcome: history.OK, Replayed: true},
			{Attempts: 0, Outcome: history.Rejected},
			{Attempts: 1, Outcome: history.Rejected, Kind: history.Misuse},
			{Attempts: 1, Outcome: history.Failed, Code: "failed_precondition"},
			{Attempts: 1, Outcome: history.Failed, Code: "internal"},
			{Outcome: history.Lost},
		},
		Inventories: []history.Inventory{
			{When: history.InLogs, Count: map[string]int{"timed out": 4}}, {When: "end", Count: map[string]int{"timed out": 9}},
		},
	}
	for what, want := range map[string]int{
		"faults": 2, "reconnects": 1, "resends": 2, "replays": 1, "lost calls": 1, "failures": 3, "kill": 3, "cut": 0, "timed out": 4, "x": 0,
	} {
		if got := h.Happened(what); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
}

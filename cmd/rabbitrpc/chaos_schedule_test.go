package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

var names = []string{"server-1", "server-2", "server-3"}

func TestCommandOf(t *testing.T) {
	faults := []history.Phase{{Name: "warm up", To: time.Second}, {Name: "faults", From: time.Second, To: 11*time.Second + 3*time.Millisecond}}
	schedule := func(name string) json.RawMessage {
		found, err := scenario.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if found[0].Steps == nil {
			found[0].Duration = 10 * time.Second
		}
		text, err := json.Marshal(found[0].Schedule(7, names))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, tt := range []struct {
		name, scenario string
		schedule       json.RawMessage
		command        []string
		want           string
	}{
		{"servers of its own", "reset", schedule("reset"), []string{"/usr/bin/rabbitrpc", "chaos", "bank"}, "reset --seed 7 --callers 16 --servers 3 --store lru"},
		{"at random", "bank", schedule("bank"), nil, "bank --duration 10s --seed 7 --callers 16 --servers 3 --store lru"},
		{"with a schedule", "bank", json.RawMessage("[]"), nil, "bank --schedule FILE --seed 7 --callers 16 --servers 3 --store lru"},
		{"a server of the user's", "reset", schedule("reset"), []string{"/bin/sh", "-c", `exec node 'my server.js'`},
			`reset --seed 7 --callers 16 --servers 3 --store lru --server 'node '\''my server.js'\'''`},
		{"a server without a shell", "reset", schedule("reset"), []string{"/opt/bank", "-v"}, "reset --seed 7 --callers 16 --servers 3 --store lru --server '/opt/bank -v'"},
		{"no scenario of today's, and rude", "x\x1b[2J", nil, nil, `'x\u001b[2J' --schedule FILE --seed 7 --callers 16 --servers 3 --store lru`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &history.History{Phases: faults, Run: history.Run{
				Scenario: tt.scenario, Seed: 7, Callers: 16, Servers: names, Store: "lru", Command: tt.command, Schedule: tt.schedule,
			}}
			if got, want := commandOf(h), "rabbitrpc chaos run "+tt.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// The duration that is printed makes the same schedule, however long the last fault took.
func TestRemade(t *testing.T) {
	found, err := scenario.Find("bank")
	if err != nil {
		t.Fatal(err)
	}
	s := found[0]
	for seed := range uint64(100) {
		for _, length := range []time.Duration{5 * time.Second, 5500 * time.Millisecond} {
			for _, late := range []time.Duration{time.Millisecond, 8 * time.Second} {
				s.Duration = length
				want, err := json.Marshal(s.Schedule(seed, names))
				if err != nil {
					t.Fatal(err)
				}
				h := &history.History{
					Run:    history.Run{Scenario: "bank", Seed: seed, Servers: names, Schedule: want},
					Phases: []history.Phase{{Name: "faults", To: length + late}},
				}
				var ok bool
				if s.Duration, ok = remade(h); !ok {
					t.Errorf("seed %d, %v, %v late: it is not remade", seed, length, late)
					continue
				}
				if got, err := json.Marshal(s.Schedule(seed, names)); err != nil || string(got) != string(want) {
					t.Errorf("seed %d, %v, %v late: --duration %v makes\n%s, %v, want\n%s", seed, length, late, s.Duration, got, err, want)
				}
			}
		}
	}
}

// A run that has shown nothing has not failed as the one before did.
func TestBrokenBy(t *testing.T) {
	verdicts := []check.Verdict{{Invariant: "I1", Result: check.Holds}, {Invariant: "I5", Result: check.Broken}, {Invariant: "I20", Result: check.Inconclusive}}
	if got := brokenBy(verdicts); len(got) != 1 || got[0] != "I5" {
		t.Errorf("got %v, want I5", got)
	}
	for _, tt := range []struct {
		name string
		now  []string
		want int
	}{{"the same", []string{"I5", "I9"}, 1}, {"another", []string{"I9"}, 0}, {"none", nil, 0}} {
		if got := shared([]string{"I1", "I5"}, tt.now); len(got) != tt.want {
			t.Errorf("%s: got %v, want %d", tt.name, got, tt.want)
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
	"github.com/rabbitrpc/rabbitrpc/chaos/scenario"
)

// readSchedule reads what a shrunk run has printed, or somebody has written: a list of steps in JSON.
func readSchedule(path string) ([]scenario.Step, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read schedule: %w", err)
	}
	var steps []scenario.Step
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&steps); err != nil {
		return nil, fmt.Errorf("read schedule %s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read schedule %s: want one list of steps, and nothing after it", path)
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("schedule %s has no step", path)
	}
	return steps, nil
}

// scheduled is a scenario with another schedule, which takes as long as its steps and need not do what the scenario is about.
func scheduled(s scenario.Scenario, steps []scenario.Step) scenario.Scenario {
	s.Steps, s.Duration, s.MustBite = steps, 0, nil
	return s
}

// commandOf is the command that makes a run with the schedule of this one, without the files to write. FILE stands for its schedule,
// unless the scenario or the seed makes the same.
func commandOf(h *history.History) string {
	line := "rabbitrpc chaos run " + quoted(h.Run.Scenario)
	switch duration, ok := remade(h); {
	case !ok:
		line += " --schedule FILE"
	case duration > 0:
		line += fmt.Sprint(" --duration ", duration)
	}
	line += fmt.Sprintf(" --seed %d --callers %d --servers %d --store %s", h.Run.Seed, h.Run.Callers, len(h.Run.Servers), quoted(h.Run.Store))
	switch command := h.Run.Command; {
	case ownServers(h), len(command) == 0:
		return line
	case len(command) == 3 && slices.Equal(command[:2], shell):
		return line + " --server " + quoted(strings.TrimPrefix(command[2], "exec "))
	default:
		var words []string
		for _, word := range command {
			words = append(words, quoted(word))
		}
		return line + " --server " + quoted(strings.Join(words, " "))
	}
}

// remade reports whether the scenario has the schedule of a run; or makes it from the seed, if the faults may last for so long.
func remade(h *history.History) (duration time.Duration, ok bool) {
	var had []scenario.Step
	found, err := scenario.Find(h.Run.Scenario)
	if err != nil || json.Unmarshal(h.Run.Schedule, &had) != nil {
		return 0, false
	}
	s := found[0]
	if s.Steps != nil {
		return 0, reflect.DeepEqual(s.Schedule(h.Run.Seed, h.Run.Servers), had)
	}
	duration, n := faultsOf(h), len(had)
	s.Duration = duration + time.Minute
	steps := s.Schedule(h.Run.Seed, h.Run.Servers)
	if n == 0 || len(steps) <= n || !reflect.DeepEqual(steps[:n], had) {
		return 0, false
	}
	if next := time.Duration(steps[n].At); duration > next || duration <= time.Duration(had[n-1].At) { // the last fault took its time
		duration = next
	}
	return duration, true
}

// faultsOf is how long the faults of a run lasted.
func faultsOf(h *history.History) (d time.Duration) {
	for _, p := range h.Phases {
		if p.Name == "faults" {
			d = (p.To - p.From).Truncate(time.Second)
		}
	}
	return d
}

// ownServers reports whether the servers of a run were those of this program, which may have been elsewhere then.
func ownServers(h *history.History) bool {
	return len(h.Run.Command) == 3 && slices.Equal(h.Run.Command[1:], bankCommand)
}

// quoted returns s for a shell, and for a terminal.
func quoted(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(printable(s, ""), "'", `'\''`) + "'"
}

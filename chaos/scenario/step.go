package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// A Step is one fault of a schedule: At a time since the faults began, For so long.
type Step struct {
	At     Span   `json:"at"`
	For    Span   `json:"for,omitzero"`
	Target string `json:"target"` // broker, store, service, user, callers, servers, or one of the servers, such as server-2
	Fault  string `json:"fault"`  // what is done to it, such as kill; "line" for what goes wrong on its way to the broker

	Line   chaos.AnyFault `json:"line,omitzero"`
	Point  Point          `json:"point,omitzero"`  // of a crash; drawn from the seed if empty
	Chance bool           `json:"chance,omitzero"` // chance has picked it, and may have picked somebody who was down
}

// A Span is a duration that JSON shows as in "1.5s".
type Span time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = Span(d)
	return err
}

// String says what the step does.
func (s Step) String() string {
	switch {
	case s.Fault == lineFault:
		return fmt.Sprintf("line of %s: %v", s.Target, s.Line.Fault)
	case s.Point != "":
		return fmt.Sprintf("%s: %s at %s", s.Target, s.Fault, s.Point)
	}
	return s.Target + ": " + s.Fault
}

const lineFault = "line"

// name is what the fault is called in a history.
func (s Step) name() string {
	if s.Fault != lineFault {
		return s.Fault
	}
	b, _ := json.Marshal(s.Line) // it was made from JSON, or by us
	var kind map[string]json.RawMessage
	if json.Unmarshal(b, &kind) == nil {
		for k := range kind {
			return k
		}
	}
	return s.Fault
}

// Validate tells what is wrong with a step. Whether its target takes part in a run, [Scenario.Validate] tells.
func (s Step) Validate() error {
	switch {
	case s.At < 0 || s.For < 0 || time.Duration(max(s.At, s.For)) > MaxDuration:
		return fmt.Errorf("step %v: times must be 0 to %v", s, MaxDuration)
	case s.Fault == lineFault && s.Line.Fault == nil:
		return fmt.Errorf("step %v: says nothing of what goes wrong on the line", s)
	case s.Fault == lineFault && !slices.Contains(withLine, s.Target) && !strings.HasPrefix(s.Target, serverPrefix):
		return fmt.Errorf("step %v: no such line, it is that of one of the servers, or one of %q", s, withLine)
	case s.Fault == lineFault:
		return s.Line.Validate()
	case find(s) == nil:
		return fmt.Errorf("step %v: no such fault of this target", s)
	case s.Point != "" && s.Fault != crashFault:
		return fmt.Errorf("step %v: only a crash has a point", s)
	case s.Point != "":
		return s.Point.validate()
	}
	return nil
}

// MaxDuration is how long faults may last, and how late they may begin.
const MaxDuration = 24 * time.Hour

// withLine are the targets with a line, besides each server.
var withLine = []string{callersName, "servers", "store"}

// sortSteps puts a schedule in the order of time.
func sortSteps(steps []Step) {
	slices.SortStableFunc(steps, func(a, b Step) int { return int(a.At - b.At) })
}

func at(d time.Duration, target, fault string, long time.Duration) Step {
	return Step{At: Span(d), For: Span(long), Target: target, Fault: fault}
}

func line(d time.Duration, target string, long time.Duration, f chaos.Fault) Step {
	return Step{At: Span(d), For: Span(long), Target: target, Fault: lineFault, Line: chaos.AnyFault{Fault: f}}
}

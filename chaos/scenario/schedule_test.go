package scenario

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

var three = []string{"server-1", "server-2", "server-3"}

// Each step that the catalogue or chance can make is one that can be carried out.
func TestStepsAreValid(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range All() {
		if seen[s.Name] {
			t.Errorf("two scenarios are called %s", s.Name)
		}
		seen[s.Name] = true
		if !slices.Contains(groups, s.Group) || !strings.Contains(s.About, " ") {
			t.Errorf("%s: group %q, about %q", s.Name, s.Group, s.About)
		}
		if err := s.Validate(MinServers); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		if s.length() == 0 && len(s.Steps) < 1 {
			t.Errorf("%s does nothing", s.Name)
		}
	}
	for seed := range uint64(200) {
		for _, step := range random(seed, time.Minute, three) {
			if err := step.Validate(); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
}

// Each kind of fault there is comes in a scenario of its own, or in the mix.
func TestEachActionIsUsed(t *testing.T) {
	used := make(map[string]bool)
	for _, s := range All() {
		for _, step := range s.Steps {
			if a := find(step); a != nil {
				used[a.target+"/"+a.fault] = true
			}
		}
	}
	for _, a := range actions {
		if !used[a.target+"/"+a.fault] && !slices.ContainsFunc(kinds, func(k kind) bool { return k.name == a.target+"/"+a.fault }) {
			t.Errorf("no scenario does %s/%s", a.target, a.fault)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		step Step
		want string
	}{
		{"unknown fault", Step{Target: "broker", Fault: "explode"}, "no such fault"},
		{"unknown target", Step{Target: "moon", Fault: "kill"}, "no such fault"},
		{"negative time", Step{At: -1, Target: "broker", Fault: "kill"}, "must be 0 to 24h"},
		{"beyond all time", Step{At: Span(2_540_000 * time.Hour), For: Span(2_540_000 * time.Hour), Target: "broker", Fault: "kill"}, "must be 0 to 24h"},
		{"a point that is none", Step{Target: "server-1", Fault: "crash", Point: "applied=exit@1"}, "no point"},
		{"a point of no call", Step{Target: "server-1", Fault: "crash", Point: "applied@0"}, "no point"},
		{"a point and more", Step{Target: "server-1", Fault: "crash", Point: "applied@1;x=kill"}, "no point"},
		{"a point of a kill", Step{Target: "server-1", Fault: "kill", Point: "applied@1"}, "only a crash"},
		{"line without a fault", Step{Target: "callers", Fault: lineFault}, "says nothing"},
		{"line with a bad one", line(0, "callers", 0, chaos.Latency{Delay: -time.Second}), "delay"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.step.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

// A step needs a target that takes part: carried out without one, it would end the process with all that it has to tidy up.
func TestTargetsTakePart(t *testing.T) {
	for _, c := range []struct {
		name     string
		scenario Scenario
		want     string // in the error
	}{
		{"a server there is not", Scenario{Steps: []Step{at(0, "server-4", "kill", 0)}}, "the last is server-3"},
		{"a server without a number", Scenario{Steps: []Step{at(0, "server-", "kill", 0)}}, "the last is server-3"},
		{"the line of one", Scenario{Steps: []Step{line(0, "server-4", 0, chaos.Reset{})}}, "the last is server-3"},
		{"a server of more", Scenario{Servers: 4, Steps: []Step{at(0, "server-4", "kill", 0)}}, ""},
		{"a server of fewer", Scenario{Servers: 1, Steps: []Step{at(0, "server-2", "kill", 0)}}, "the last is server-1"},
		{"guests there are not", Scenario{Steps: []Step{at(0, "guests", "kill", 0)}}, "has no guests"},
		{"guests", Scenario{Guests: 1, Steps: []Step{at(0, "guests", "kill", 0)}}, ""},
		{"no line", Scenario{Steps: []Step{line(0, "moon", 0, chaos.Reset{})}}, "no such line"},
		{"the line of guests", Scenario{Guests: 1, Steps: []Step{line(0, "guests", 0, chaos.Reset{})}}, "no such line"},
		{"a step that is not valid", Scenario{Steps: []Step{at(-1, "broker", "kill", 0)}}, "must be 0 to 24h"},
	} {
		if err := c.scenario.Validate(MinServers); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
}

// A seed makes the same schedule each time, and another seed another one.
func TestRandomIsReplayable(t *testing.T) {
	a, b := random(7, time.Minute, three), random(7, time.Minute, three)
	if !reflect.DeepEqual(a, b) || len(a) < 20 {
		t.Errorf("two schedules of one seed differ, or are empty:\n%v\n%v", a, b)
	}
	if reflect.DeepEqual(a, random(8, time.Minute, three)) {
		t.Error("two seeds have made the same schedule")
	}
}

// Where a server crashes is in the schedule: the same from one seed, and the same when a step before it is left out.
func TestCrashPointsAreReplayable(t *testing.T) {
	found, err := Find("server-crashes")
	if err != nil {
		t.Fatal(err)
	}
	s := found[0]
	first := s.Schedule(7, three)
	for _, step := range first {
		if step.Point == "" || step.Validate() != nil {
			t.Fatalf("%v: %v", step, step.Validate())
		}
	}
	if again := s.Schedule(7, three); !reflect.DeepEqual(again, first) {
		t.Errorf("got %v, then %v", first, again)
	}
	if other := s.Schedule(8, three); reflect.DeepEqual(other, first) {
		t.Error("two seeds have drawn the same points")
	}
	s.Steps = first[2:]
	if left := s.Schedule(8, three); !reflect.DeepEqual(left, first[2:]) {
		t.Errorf("got %v, want %v", left, first[2:])
	}
	if found[0].Steps[0].Point != "" {
		t.Error("the catalogue was changed")
	}
}

func TestScheduleAsJSON(t *testing.T) {
	want := append(random(3, 5*time.Minute, three), line(time.Second, "callers", 0, chaos.Impostor{Says: "x"}))
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []Step
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Of a schedule that fails because of a few of its steps, those are left.
func TestShrink(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := rand.New(rand.NewPCG(seed, 0))
			steps := random(seed, time.Minute, three)
			guilty := map[string]bool{}
			for range 1 + c.IntN(3) {
				guilty[fmt.Sprint(steps[c.IntN(len(steps))])] = true
			}
			has := func(steps []Step) bool {
				found := make(map[string]bool)
				for _, s := range steps {
					if text := fmt.Sprint(s); guilty[text] {
						found[text] = true
					}
				}
				return len(found) == len(guilty)
			}
			tries := 0
			left := Shrink(steps, 1000, func(s []Step) bool { tries++; return has(s) })
			if !has(left) || len(left) != len(guilty) {
				t.Errorf("%d steps are left of %d, want %d", len(left), len(steps), len(guilty))
			}
			if tries > 300 {
				t.Errorf("it took %d tries", tries)
			}
			for i, s := range left {
				if s.At < 0 || i > 0 && s.At < left[i-1].At {
					t.Errorf("the order of time is lost: %v", left)
				}
			}
		})
	}
}

// Shrink stops when it may not try again, with what has failed last.
func TestShrinkIsBounded(t *testing.T) {
	steps := random(1, time.Minute, three)
	tries := 0
	left := Shrink(steps, 5, func([]Step) bool { tries++; return false })
	if tries != 5 || len(left) != len(steps) {
		t.Errorf("%d tries, %d of %d steps left, want 5 tries and all steps", tries, len(left), len(steps))
	}
}

// What fails without any fault has no guilty ones.
func TestShrinkToNothing(t *testing.T) {
	for _, n := range []int{1, 2, 7} {
		steps := random(1, time.Minute, three)[:n]
		if left := Shrink(steps, 30, func([]Step) bool { return true }); len(left) != 0 {
			t.Errorf("%d steps are left of %d, want none", len(left), n)
		}
	}
}

// Pauses in which nothing is at work get shorter, and nothing else changes.
func TestSooner(t *testing.T) {
	steps := []Step{
		at(10*time.Second, "broker", "kill", 2*time.Second), at(11*time.Second, "store", "kill", 0), at(20*time.Second, "store", "cut", 0),
	}
	want := []Step{
		at(time.Second, "broker", "kill", 2*time.Second), at(2*time.Second, "store", "kill", 0), at(4*time.Second, "store", "cut", 0),
	}
	if got := sooner(steps); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFind(t *testing.T) {
	if found, err := Find("network"); err != nil || len(found) < 10 {
		t.Errorf("the group network has %d scenarios, %v", len(found), err)
	}
	if found, err := Find("drain"); err != nil || len(found) != 1 {
		t.Errorf("drain: %v, %v", found, err)
	}
	if _, err := Find("nonsense"); err == nil || !strings.Contains(err.Error(), "chaos list") {
		t.Errorf("got %v, want an error that says where the names are", err)
	}
}

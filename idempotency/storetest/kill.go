package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// schedule is where the first processes of a call are killed, one after the other.
type schedule []kill

type kill struct {
	point string
	after Step
}

func (s schedule) String() string {
	var points []string
	for _, k := range s {
		points = append(points, k.point)
	}
	return strings.Join(points, ", ")
}

// schedules returns what to try: each point alone; and, unless tests are to be short, what comes to another end the
// second time. To a store Claimed and Entered are one, and once a call is stored there is no second time.
func (c Crash) schedules() []schedule {
	var all []schedule
	for point, after := range c.Points {
		all = append(all, schedule{{point, after}})
	}
	for _, at := range steps {
		all = append(all, schedule{{string(at), at}})
	}
	if testing.Short() {
		return all
	}
	for _, first := range []Step{Claimed, Applied} {
		for _, second := range []Step{Claimed, Applied, Stored} {
			all = append(all, schedule{{string(first), first}, {string(second), second}})
		}
	}
	return all
}

// killed has a call run by processes that are killed according to s, then by two that are not, and compares what they
// say and do with what is promised.
func (w *world) killed(t *testing.T, s schedule) {
	want := history{survives: w.Survives, atMostOnce: w.atMostOnce}
	for n := range len(s) + 2 {
		var k kill
		orders := ""
		if n < len(s) {
			k = s[n]
			orders = k.point + "=kill"
		}
		got := w.start(t, n, orders).one(t)
		if err := want.process(n, k.after).check(got); err != nil {
			t.Fatalf("process %d: %v", n, err)
		}
		if effects := w.count(t, callID(1)); effects != want.effects {
			t.Fatalf("process %d: %d effects, want %d", n, effects, want.effects)
		}
	}
}

// check compares an answer with the one that is wanted; nil is none, because the process was killed.
func (want *answer) check(got *answer) error {
	switch {
	case want == nil && got == nil:
		return nil
	case want == nil:
		return fmt.Errorf("answered %+v, want it killed", *got)
	case got == nil:
		return fmt.Errorf("killed, want the answer %+v", *want)
	}
	g := *got
	if g.Claims == 0 {
		g.Claims = want.Claims // a store need not count
	}
	g.Lost = false
	if g != *want {
		return fmt.Errorf("answered %+v, want %+v", *got, *want)
	}
	return nil
}

// killedAmongMany has calls run, some at a time, by a process that is killed when half of them have come to a step, and
// then all of them by another.
func (w *world) killedAmongMany(t *testing.T, at Step) {
	first := w.start(t, 0, fmt.Sprintf("%s=kill@%d", at, w.calls/2))
	if !first.wait(t) {
		t.Fatal("not killed")
	}
	second := w.start(t, 1, "")
	if second.wait(t) {
		t.Fatal("the second process was killed")
	}
	before, after := first.answered(t), second.answered(t)
	if len(before) >= w.calls || len(after) != w.calls {
		t.Fatalf("%d answers and then %d, want less than %d and then all", len(before), len(after), w.calls)
	}
	hit := 0
	for n := 1; n <= w.calls; n++ {
		id := callID(n)
		was, answered := before[id]
		e := end{w.count(t, id), answered, was, after[id]}
		if err := w.ended(e); err != nil {
			t.Errorf("%s: %v: %+v", id, err, e)
		}
		if e.effects != 1 || e.is.Code != rpc.OK {
			hit++
		}
	}
	if w.Survives != Nothing && hit > atATime {
		t.Errorf("%d calls were hit, want those that were running at most, %d", hit, atATime)
	}
}

// end is what came of a call.
type end struct {
	effects  int
	answered bool   // by the first process
	was, is  answer // of the first and the second
}

// ended checks what came of a call of which nobody knows whether it was running when its first process was killed.
func (w *world) ended(e end) error {
	if e.answered && e.was.Code != rpc.OK {
		return fmt.Errorf("the first answer is an error")
	}
	least, most := 1, 1
	switch {
	case w.Survives == Nothing && e.answered:
		least, most = 2, 2
	case w.Survives == Nothing:
		most = 2
	case e.answered && (e.is.Code != rpc.OK || e.is.Body != e.was.Body || !e.is.Replayed):
		return fmt.Errorf("the first answer is not replayed")
	case w.Survives == Outcomes && w.atMostOnce && e.is.Code == rpc.Unavailable && e.is.Executed == rpc.ExecutedUnknown:
		least = 0
	case e.is.Code != rpc.OK:
		return fmt.Errorf("the answer is an error")
	case w.Survives == Outcomes && !w.atMostOnce && !e.is.Replayed:
		most = 2
	}
	if e.effects < least || e.effects > most {
		return fmt.Errorf("%d effects, want %d to %d", e.effects, least, most)
	}
	return nil
}

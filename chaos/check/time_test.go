package check_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

func TestDeadlines(t *testing.T) {
	late := func(by time.Duration) func(*history.History) {
		return func(h *history.History) { c := find(h, "3", history.Usual); c.Returned = c.Deadline + by }
	}
	both := func(allowed time.Duration, do func(*history.History)) func(*history.History) {
		return func(h *history.History) { h.Run.Allowed.Lateness = allowed; do(h) }
	}
	judge(t, "I8", []change{
		{"good", func(*history.History) {}, check.Holds, "16 calls"},
		{"just in time", late(100 * ms), check.Holds, "the last ended 100ms after its deadline"},
		{"late", late(101 * ms), check.Broken, "call 3 of bank by caller 1 at 1.600 s: transfer ended 101ms after its deadline, ambiguous: 100ms are allowed"},
		{"late, by default", both(0, late(101*ms)), check.Broken, "100ms are allowed"},
		{"late on a machine that was busy", busy(0, late(400*ms)), check.Holds, "1 call late by no more than the machine was"},
		{"later than the machine was", busy(0, late(500*ms)), check.Broken, "ended 500ms after its deadline"},
		{"late, and the machine was busy at another time", busy(5*time.Second, late(400*ms)), check.Broken, ""},
		{"as late as is allowed", both(time.Second, late(900*ms)), check.Holds, ""},
		{"later than is allowed", both(time.Second, late(1001*ms)), check.Broken, "1s are allowed"},
		{"its caller was killed", func(h *history.History) { find(h, "4", history.Usual).Returned = time.Hour }, check.Holds, ""},
		{"no calls", func(h *history.History) { h.Calls = nil }, check.NotChecked, ""},
	})
}

// busy has timers be late by 350 ms, so long after the deadline of call 3, and changes more.
func busy(after time.Duration, and func(*history.History)) func(*history.History) {
	return func(h *history.History) {
		and(h)
		for i, s := range h.Samples {
			if s.At >= find(h, "3", history.Usual).Deadline+after {
				h.Samples[i].Value = map[string]float64{history.TimersLate: 0.35}
				return
			}
		}
	}
}

// only keeps the fault from 2 s to 3 s, and one ok call after it.
func only(invoked, returned time.Duration, more ...history.Fault) func(*history.History) {
	return func(h *history.History) {
		h.Faults = append(h.Faults[:1], more...)
		h.Calls = h.Calls[:2]
		h.Calls[0].Invoked, h.Calls[0].Returned = invoked, returned
		h.Calls[1].Invoked, h.Calls[1].Returned = 3000*ms, 3000*ms // rejected at once
	}
}

func TestRecovery(t *testing.T) {
	next := func(from time.Duration) history.Fault {
		return history.Fault{Name: "stop", From: from, To: from + 100*ms, Bites: 1}
	}
	judge(t, "I9", []change{
		{"good", func(*history.History) {}, check.Holds, "3 recoveries"},
		{"in time", only(3100*ms, 4000*ms), check.Holds, "the longest took 1s"},
		{"too late", only(3100*ms, 4001*ms), check.Broken, "kill of server-1 was over at 3.000 s, the first ok call came 1.001s later: 1s are allowed"},
		{"only a call from before", only(2999*ms, 3500*ms), check.Inconclusive, "no call was ok until the end at 3.500 s"},
		{"not ok", func(h *history.History) {
			only(3100*ms, 5000*ms)(h)
			h.Calls[0].Outcome = history.Ambiguous
		}, check.Broken, "no call was ok after that"},
		{"too late because of the next fault", only(3100*ms, 5000*ms, next(3500*ms)), check.Inconclusive, "1 cut short by the next fault"},
		{"too late before the next fault", only(3100*ms, 4500*ms, next(4100*ms)), check.Broken, "1.5s later"},
		{"the faults overlap", only(3400*ms, 4400*ms, history.Fault{From: 2500 * ms, To: 3400 * ms}), check.Holds, "2 recoveries"},
		{"one fault in the other", only(3100*ms, 4100*ms, history.Fault{From: 1000 * ms, To: 3400 * ms}), check.Inconclusive, "kill of server-1 was over at 3.400 s, but nobody has called within 1s"},
		{"nobody calls", func(h *history.History) {
			only(7000*ms, 7001*ms)(h)
			h.Calls = h.Calls[:1]
		}, check.Inconclusive, "nobody has called within 1s"},
		{"no bound", func(h *history.History) { h.Run.Allowed.Recovery = 0 }, check.NotChecked, "no bound is set, the longest took 400ms"},
		{"no faults", func(h *history.History) { h.Faults = nil }, check.NotChecked, "no recoveries"},
	})
}

func TestRecoveries(t *testing.T) {
	h := good()
	want := []check.Recovery{
		{Fault: 0, Healed: 3500 * ms, Took: 400 * ms, Found: true}, // both end when the second does
		{Fault: 1, Healed: 3500 * ms, Took: 400 * ms, Found: true},
		{Fault: 2, Healed: 21000 * ms, Took: 400 * ms, Found: true},
	}
	got := check.Recoveries(h)
	for i := range max(len(got), len(want)) {
		g := got[i]
		if g.Fault != want[i].Fault || g.Healed != want[i].Healed || g.Took != want[i].Took || g.Found != want[i].Found {
			t.Errorf("recovery %d = %+v, want %+v", i, g, want[i])
		}
	}
	h.Calls = h.Calls[:3]
	for _, r := range check.Recoveries(h) {
		if r.Found || r.Took != 0 {
			t.Errorf("recovery without a call = %+v", r)
		}
	}
}

// TestRecoveriesRandom compares with what the definition says, one fault and one call at a time.
func TestRecoveriesRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := new(history.History)
		moment := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.IntRange(0, 40).Draw(t, "at")) })
		for range rapid.IntRange(0, 6).Draw(t, "faults") {
			from := moment.Draw(t, "from")
			h.Faults = append(h.Faults, history.Fault{From: from, To: from + moment.Draw(t, "long")/4})
		}
		for range rapid.IntRange(0, 8).Draw(t, "calls") {
			c := history.Call{Invoked: moment.Draw(t, "invoked"), Outcome: history.OK}
			c.Returned = c.Invoked + moment.Draw(t, "took")
			if rapid.Bool().Draw(t, "fails") {
				c.Outcome = history.Ambiguous
			}
			h.Calls = append(h.Calls, c)
		}
		for i, r := range check.Recoveries(h) {
			healed := h.Faults[i].To
			for range h.Faults {
				for _, f := range h.Faults {
					if f.From <= healed && f.To > healed {
						healed = f.To
					}
				}
			}
			took, found := time.Duration(1000), false
			for _, c := range h.Calls {
				if c.Outcome == history.OK && c.Invoked >= healed {
					took, found = min(took, c.Returned-healed), true
				}
			}
			if r.Fault != i || r.Healed != healed || r.Found != found || found && r.Took != took {
				t.Fatalf("recovery %d = %+v, want healed %d, took %d, found %t", i, r, healed, took, found)
			}
		}
	})
}

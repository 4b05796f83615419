package check_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// dialing samples, each 100 ms for 30 s, how many dials there have been when wait is between them, from 5 s on, and has one
// fault in that time.
func dialing(wait func(n int) time.Duration) func(*history.History) {
	return func(h *history.History) {
		h.Samples = nil
		h.Faults = []history.Fault{{Name: "refuse", Target: "broker", From: 5 * time.Second, To: 30 * time.Second, Bites: 1}}
		count, next := 1, 5050*ms
		for at := time.Duration(0); at <= 30*time.Second; at += 100 * ms {
			for ; next <= at; count++ {
				next += wait(count)
			}
			h.Samples = append(h.Samples, history.Sample{At: at, Value: map[string]float64{"dials": float64(count)}})
		}
	}
}

func every(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// shaken moves the samples by up to 10 ms.
func shaken(do func(*history.History)) func(*history.History) {
	return func(h *history.History) {
		do(h)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range h.Samples {
			h.Samples[i].At += time.Duration(r.Int64N(int64(10 * ms)))
		}
	}
}

func TestDials(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	jump := func(at int, by float64) func(*history.History) {
		return func(h *history.History) {
			for i := range h.Samples[at:] {
				h.Samples[at+i].Value["dials"] += by
			}
		}
	}
	judge(t, "I13", []change{
		{"good", func(*history.History) {}, check.Holds, "299 samples, 29 dials, at most 1 in a second"},
		{"no session may be lost, and none is", steady(1), check.Holds, ""},
		{"no session may be lost, and one is", steady(2), check.Broken, "1 times a session was lost"},
		{"ten at once", jump(55, 9), check.Holds, "at most 10 in a second"},
		{"eleven at once", jump(55, 10), check.Broken, "11 dials in the second up to"},
		{"too many in a second, few in each sample", dialing(every(80 * ms)), check.Broken, "13 dials in the second up to"},
		{"a sample for three seconds", func(h *history.History) {
			jump(55, 31)(h)
			h.Samples = append(h.Samples[:30], h.Samples[58:]...)
		}, check.Broken, "11 dials in the second up to 5.800 s"},
		{"a sample for three seconds may have spread them", func(h *history.History) {
			jump(55, 26)(h)
			h.Samples = append(h.Samples[:30], h.Samples[58:]...)
		}, check.Holds, ""},
		{"a counter that begins anew", func(h *history.History) {
			for i := range h.Samples[100:] {
				h.Samples[100+i].Value["dials"] -= 10
			}
		}, check.Holds, ""},
		{"no jitter", dialing(every(500 * ms)), check.Broken, "refuse of broker at 5.000 s: 50 dials, all 500ms to 500ms apart"},
		{"no jitter, seen by a clock that has some", shaken(dialing(every(500 * ms))), check.Broken, "apart"},
		{"full jitter", dialing(func(int) time.Duration { return 300*ms + time.Duration(r.Int64N(int64(900*ms))) }), check.Holds, "1 outage"},
		{"growing", dialing(func(n int) time.Duration { return 300*ms + time.Duration(n)*100*ms }), check.Holds, "1 outage"},
		{"dials that hang for as long", dialing(every(2 * time.Second)), check.Holds, "all 2s apart, unless they hang that long there is no jitter"},
		{"too fast to tell", dialing(every(200 * ms)), check.Holds, "no outages"},
		{"too few to tell", dialing(every(4 * time.Second)), check.Holds, "no outages"},
		{"no bound, and too few to tell", func(h *history.History) { h.Run.Allowed.DialsASecond = 0 }, check.NotChecked, "29 dials"},
		{"no bound, and jitter", func(h *history.History) {
			h.Run.Allowed.DialsASecond = 0
			dialing(func(n int) time.Duration { return time.Duration(3+n%5) * 100 * ms })(h)
		}, check.Holds, "1 outage"},
		{"no samples", func(h *history.History) { h.Samples = nil }, check.NotChecked, ""},
	})
}

func TestAmplification(t *testing.T) {
	attempts := func(n int) func(*history.History) {
		return func(h *history.History) { find(h, "3", history.Usual).Attempts = n }
	}
	judge(t, "I14", []change{
		{"good", func(*history.History) {}, check.Holds, "16 calls, 16 attempts, 1.000 for each"},
		{"as many as are allowed", attempts(4), check.Holds, "1.188 for each"},
		{"too many", attempts(5), check.Broken, "20 attempts for 16 calls are 1.250 for each: 1.200 are allowed"},
		{"all twice", func(h *history.History) {
			for i := range h.Calls {
				h.Calls[i].Attempts = 2
			}
		}, check.Broken, "2.000 for each"},
		{"its caller was killed", func(h *history.History) { find(h, "4", history.Usual).Attempts = 50 }, check.Holds, "16 attempts"},
		{"no bound", func(h *history.History) { h.Run.Allowed.Amplification = 0 }, check.NotChecked, "no bound is set, 16 calls, 16 attempts"},
		{"no calls", func(h *history.History) { h.Calls = nil }, check.NotChecked, ""},
	})
}

// steady has the callers' process have so many sessions, in a run in which it must have one.
func steady(sessions int) func(*history.History) {
	return func(h *history.History) {
		h.Run.Allowed.NoReconnect = true
		h.Sessions = nil
		for i := range sessions {
			h.Sessions = append(h.Sessions, history.Session{At: time.Duration(i) * time.Second, Process: "callers"})
		}
	}
}

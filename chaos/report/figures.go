package report

import (
	"slices"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// figures are what a run comes to in numbers.
type figures struct {
	length                                time.Duration
	calls                                 int
	ok, rejected, failed, ambiguous, lost int
	misuse                                int // of the rejected: as they must be
	resent, replayed                      int
	p50, p99, most                        time.Duration // that callers waited
}

func figuresOf(h *history.History) figures {
	f := figures{length: lengthOf(h), calls: len(h.Calls), resent: h.Happened("resends"), replayed: h.Happened("replays")}
	waits := make([]time.Duration, 0, len(h.Calls))
	for i := range h.Calls {
		c := &h.Calls[i]
		switch c.Outcome {
		case history.OK:
			f.ok++
		case history.Rejected:
			f.rejected++
			if c.Kind == history.Misuse {
				f.misuse++
			}
		case history.Failed:
			f.failed++
		case history.Ambiguous:
			f.ambiguous++
		case history.Lost:
			f.lost++
		}
		if c.Outcome != history.Lost { // nobody knows how long that would have taken
			waits = append(waits, wait(c))
		}
	}
	slices.Sort(waits)
	f.p50, f.p99, f.most = percentile(waits, 50), percentile(waits, 99), percentile(waits, 100)
	return f
}

// wait is how long the caller waited.
func wait(c *history.Call) time.Duration { return max(0, c.Returned-c.Invoked) }

// end is when a call ended; that of a lost one may not be known.
func end(c *history.Call) time.Duration { return max(c.Invoked, c.Returned) }

// percentile returns that of sorted durations: of all, p percent are not longer.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

// lengthOf returns when the last thing happened that the history knows.
func lengthOf(h *history.History) time.Duration {
	var d time.Duration
	for i := range h.Calls {
		d = max(d, end(&h.Calls[i]))
	}
	for _, f := range h.Faults {
		d = max(d, f.From, f.To)
	}
	for _, p := range h.Phases {
		d = max(d, p.From, p.To)
	}
	for _, s := range h.Sessions {
		d = max(d, s.At)
	}
	for _, s := range h.Samples {
		d = max(d, s.At)
	}
	return d
}

// verdict returns what all invariants together come to. Nothing checked shows nothing.
func verdict(v []check.Verdict) check.Result {
	switch {
	case count(v, check.Broken) > 0:
		return check.Broken
	case count(v, check.Inconclusive) > 0 || count(v, check.Holds) == 0:
		return check.Inconclusive
	}
	return check.Holds
}

func count(v []check.Verdict, r check.Result) int {
	n := 0
	for i := range v {
		if v[i].Result == r {
			n++
		}
	}
	return n
}

// worstFirst returns the verdicts with those first that somebody must look at.
func worstFirst(v []check.Verdict) []check.Verdict {
	rank := []check.Result{check.Broken, check.Inconclusive, check.Holds, check.NotChecked}
	v = slices.Clone(v)
	slices.SortStableFunc(v, func(a, b check.Verdict) int {
		return slices.Index(rank, a.Result) - slices.Index(rank, b.Result)
	})
	return v
}

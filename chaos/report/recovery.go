package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// A recovery is what came after a fault: from when no fault is active any more to the end of the first call that was
// invoked after that and was ok.
type recovery struct {
	from time.Duration
	took time.Duration
	ok   bool // there was such a call
}

// recoveries returns one for each fault, in their order.
func recoveries(h *history.History) []recovery {
	calm := calms(h.Faults)
	times := slices.Compact(slices.Sorted(slices.Values(calm))) // at which recoveries begin
	first := make([]time.Duration, len(times))                  // end of the first ok call invoked after that; 0 for none
	for i := range h.Calls {
		c := &h.Calls[i]
		at, exact := slices.BinarySearch(times, c.Invoked)
		if !exact {
			at-- // the last time before the call
		}
		if c.Outcome == history.OK && at >= 0 && (first[at] == 0 || c.Returned < first[at]) {
			first[at] = c.Returned
		}
	}
	for i := len(first) - 2; i >= 0; i-- { // what was invoked after a later time was invoked after this one, too
		if later := first[i+1]; later != 0 && (first[i] == 0 || later < first[i]) {
			first[i] = later
		}
	}
	all := make([]recovery, len(calm))
	for i, t := range calm {
		at, _ := slices.BinarySearch(times, t)
		all[i] = recovery{from: t, ok: first[at] != 0}
		if all[i].ok {
			all[i].took = first[at] - t
		}
	}
	return all
}

// calms returns, for each fault, when it and all that overlap with it had ended.
func calms(faults []history.Fault) []time.Duration {
	order := make([]int, len(faults))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(faults[a].From, faults[b].From) })
	calm := make([]time.Duration, len(faults))
	for i := 0; i < len(order); {
		quiet := faults[order[i]].To
		j := i + 1
		for ; j < len(order) && faults[order[j]].From <= quiet; j++ {
			quiet = max(quiet, faults[order[j]].To)
		}
		for ; i < j; i++ {
			calm[order[i]] = quiet
		}
	}
	return calm
}

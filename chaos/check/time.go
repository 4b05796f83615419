package check

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// lateness is how late a call may end where the run does not say.
const lateness = 100 * time.Millisecond

// checkDeadlines is I8. On a machine that had no processor to spare, which the callers' samples tell, a call may be as much later
// as timers were just then: no program could have ended it sooner.
func checkDeadlines(x *index, r *ruling) {
	allowed := cmp.Or(x.Run.Allowed.Lateness, lateness)
	n, starved, worst := 0, 0, time.Duration(0)
	for i := range x.Calls {
		c := &x.Calls[i]
		if c.Outcome == history.Lost { // the caller did not live to see its end
			continue
		}
		n++
		late := c.Returned - c.Deadline
		worst = max(worst, late)
		switch {
		case late <= allowed:
		case late <= allowed+x.starved(c.Deadline, c.Returned):
			starved++
		default:
			r.breaks("%s ended %v after its deadline, %s: %v are allowed", who(c), late.Round(10*time.Microsecond), c.Outcome, allowed)
		}
	}
	r.saw(n, "call")
	r.note("the last ended %v after its deadline", worst.Round(10*time.Microsecond))
	if starved > 0 {
		r.note("%s late by no more than the machine was", count(starved, "call"))
	}
}

// starved returns by how much timers were late at most, around a time.
func (x *index) starved(from, to time.Duration) time.Duration {
	const around = 500 * time.Millisecond // what a sample says is of the time before it
	most := 0.0
	first, _ := slices.BinarySearchFunc(x.Samples, from-around, func(s history.Sample, t time.Duration) int { return cmp.Compare(s.At, t) })
	for _, s := range x.Samples[first:] {
		if s.At > to+around {
			break
		}
		most = max(most, s.Value[history.TimersLate])
	}
	return time.Duration(most * float64(time.Second))
}

// A Recovery is how calls came back after a fault. Where faults overlap it counts from the end of the last of them.
type Recovery struct {
	Fault  int           // index in the history
	Healed time.Duration // no fault was active from then on
	Took   time.Duration // from then to the end of the first ok call that was made after it
	Found  bool          // there was such a call

	asked time.Duration // when the first call was made after it
	next  time.Duration // when the next fault began
}

const never = time.Duration(math.MaxInt64)

// Recoveries returns how long calls took to come back after each fault, in the order of the faults in the history.
func Recoveries(h *history.History) []Recovery {
	calm, of := calms(h.Faults)
	// Each call belongs to the last calm that began before it was made.
	for i := range h.Calls {
		c := &h.Calls[i]
		j, exact := slices.BinarySearchFunc(calm, c.Invoked, func(r Recovery, t time.Duration) int { return cmp.Compare(r.Healed, t) })
		if !exact {
			j--
		}
		if j < 0 {
			continue
		}
		calm[j].asked = min(calm[j].asked, c.Invoked)
		if c.Outcome == history.OK {
			calm[j].Took = min(calm[j].Took, c.Returned)
		}
	}
	// What was ok after a later fault was so after this one too.
	for j := len(calm) - 2; j >= 0; j-- {
		calm[j].asked = min(calm[j].asked, calm[j+1].asked)
		calm[j].Took = min(calm[j].Took, calm[j+1].Took)
	}
	all := make([]Recovery, len(h.Faults))
	for i := range all {
		r := calm[of[i]]
		if r.Fault, r.Found = i, r.Took < never; r.Found {
			r.Took -= r.Healed
		} else {
			r.Took = 0
		}
		all[i] = r
	}
	return all
}

// calms returns the times without a fault, in order, and for each fault which of them follows it. Took is never in them.
func calms(faults []history.Fault) (calm []Recovery, of []int) {
	of = make([]int, len(faults))
	order := make([]int, len(faults))
	for i := range faults {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(faults[a].From, faults[b].From) })
	for _, i := range order {
		f, last := faults[i], len(calm)-1
		if last >= 0 && f.From <= calm[last].Healed {
			calm[last].Healed = max(calm[last].Healed, f.To)
		} else {
			if last >= 0 {
				calm[last].next = f.From
			}
			calm = append(calm, Recovery{Healed: f.To, Took: never, asked: never, next: never})
		}
		of[i] = len(calm) - 1
	}
	return calm, of
}

// checkRecovery is I9. It says nothing of a fault after which the next one came before the time was over.
func checkRecovery(x *index, r *ruling) {
	allowed := x.Run.Allowed.Recovery
	var end, worst time.Duration
	for i := range x.Calls {
		end = max(end, x.Calls[i].Returned)
	}
	judged, cut := 0, 0
	for _, rec := range Recoveries(x.History) {
		f, limit := &x.Faults[rec.Fault], rec.Healed+allowed
		switch {
		case allowed == 0:
		case rec.Found && rec.Took <= allowed:
			judged++
		case rec.next < limit:
			cut++
		case rec.asked > limit:
			r.doubts("%s of %s was over at %s, but nobody has called within %v", f.Name, f.Target, at(rec.Healed), allowed)
		case rec.Found:
			judged++
			r.breaks("%s of %s was over at %s, the first ok call came %v later: %v are allowed", f.Name, f.Target, at(rec.Healed), rec.Took.Round(10*time.Microsecond), allowed)
		case end < limit:
			r.doubts("%s of %s was over at %s, and no call was ok until the end at %s", f.Name, f.Target, at(rec.Healed), at(end))
		default:
			judged++
			r.breaks("%s of %s was over at %s, and no call was ok after that", f.Name, f.Target, at(rec.Healed))
		}
		worst = max(worst, rec.Took)
	}
	r.saw(judged, "recovery")
	if cut > 0 {
		r.note("%s cut short by the next fault", digits(cut))
	}
	if allowed == 0 && len(x.Faults) > 0 {
		r.note("no bound is set")
	}
	if cut > 0 && judged == 0 {
		r.doubts("after none of %s was there time to recover", count(len(x.Faults), "fault"))
	}
	r.note("the longest took %v", worst.Round(10*time.Microsecond))
}

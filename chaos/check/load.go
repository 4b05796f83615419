package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// A dial is what two samples of the counter say: so many dials after the first, up to the second.
type dial struct {
	from, to time.Duration
	n        float64
}

// dials returns what each sample adds to the counter before it. A counter that went back belongs to a process that began anew.
func (x *index) dials() []dial {
	var all []dial
	var before float64
	var from time.Duration
	known := false
	for _, s := range x.Samples {
		v, ok := s.Value["dials"]
		if !ok {
			continue
		}
		n := v - before
		if n < 0 {
			n = v
		}
		if known {
			all = append(all, dial{from, s.At, n})
		}
		before, from, known = v, s.At, true
	}
	return all
}

// checkDials is I13.
func checkDials(x *index, r *ruling) {
	dials := x.dials()
	sum := 0.0
	for _, d := range dials {
		sum += d.n
	}
	allowed := x.Run.Allowed.DialsASecond
	most, when := busiest(dials)
	if allowed > 0 && most > allowed {
		r.breaks("%.0f dials in the second up to %s: %.0f are allowed", most, at(when), allowed)
	}
	if n := x.Happened("reconnects"); x.Run.Allowed.NoReconnect && n > 0 {
		r.breaks("%d times a session was lost, and none may be", n)
	}
	outages := checkJitter(x.Faults, dials, r)
	if allowed > 0 || outages > 0 {
		r.saw(len(dials), "sample")
	}
	r.note("%.0f dials", sum)
	r.note("at most %.0f in a second", most)
	r.note("%s with enough of them to see a rhythm", count(outages, "outage"))
}

// busiest returns how many dials there have been in the second that had the most, as far as samples tell for certain.
func busiest(dials []dial) (most float64, when time.Duration) {
	sum, first := 0.0, 0
	for i, d := range dials {
		sum += d.n
		for first < i && d.to-dials[first].from > time.Second {
			sum -= dials[first].n
			first++
		}
		n := sum
		if span := d.to - dials[first].from; span > time.Second { // one sample: a second of it had the average at least
			n /= float64((span + time.Second - 1) / time.Second)
		}
		if n > most {
			most, when = n, d.to
		}
	}
	return most, when
}

const (
	enoughDials = 8 // all alike by chance: one in a hundred thousand, with the full jitter of package conn
	coarse      = 3 // samples from one dial to the next, or their rhythm is that of the samples

	// A dial that hangs takes its time limit, always the same, and hides how long was waited before it. No limit is shorter.
	hangs = time.Second
)

// checkJitter looks for an outage in which dials came at one interval, as those of a client that does not draw it. Dials of
// many clients, those that come faster than every third sample, and those that hang hide it: then nothing is broken. It
// returns in how many outages it would be seen.
func checkJitter(faults []history.Fault, dials []dial, r *ruling) (judged int) {
	for i := range faults {
		f := &faults[i]
		gaps, period := gapsIn(f, dials)
		if len(gaps) < enoughDials-1 || slices.Min(gaps) < coarse*period {
			continue
		}
		shortest, longest := slices.Min(gaps), slices.Max(gaps)
		alike := longest-shortest <= period
		switch {
		case alike && longest > hangs:
			r.note("%s of %s at %s: dials are all %v apart, unless they hang that long there is no jitter", f.Name, f.Target, at(f.From), longest)
			continue
		case alike:
			r.breaks("%s of %s at %s: %d dials, all %v to %v apart", f.Name, f.Target, at(f.From), len(gaps)+1, shortest, longest)
		}
		judged++
	}
	return judged
}

// gapsIn returns the times between dials during a fault, as the samples show them, and the longest time between samples.
func gapsIn(f *history.Fault, dials []dial) (gaps []time.Duration, period time.Duration) {
	first, _ := slices.BinarySearchFunc(dials, f.From, func(d dial, t time.Duration) int { return cmp.Compare(d.from, t) })
	var last time.Duration // when the dial before was seen
	for _, d := range dials[first:] {
		if d.to > f.To {
			break
		}
		period = max(period, d.to-d.from)
		if d.n > 0 {
			if last > 0 {
				gaps = append(gaps, d.to-last)
			}
			last = d.to
		}
	}
	return gaps, period
}

// checkAmplification is I14. How often a caller that was killed had tried is not known.
func checkAmplification(x *index, r *ruling) {
	calls, attempts := 0, 0
	for i := range x.Calls {
		if c := &x.Calls[i]; c.Outcome != history.Lost {
			calls++
			attempts += c.Attempts
		}
	}
	if calls == 0 {
		return
	}
	got, allowed := float64(attempts)/float64(calls), x.Run.Allowed.Amplification
	if allowed == 0 {
		r.note("no bound is set, %s", count(calls, "call"))
	} else {
		r.saw(calls, "call")
	}
	r.note("%s, %.3f for each", count(attempts, "attempt"), got)
	if allowed > 0 && got > allowed {
		r.breaks("%s for %s are %.3f for each: %.3f are allowed", count(attempts, "attempt"), count(calls, "call"), got, allowed)
	}
}

package scenario

import (
	"slices"
	"time"
)

// Shrink makes a failing schedule smaller: it leaves out more and more of the steps, as long as what is left still fails.
// Fails runs a schedule; it is asked at most so many times. What is left keeps its times, but for the pause before it. Nothing is left
// of what fails without any fault.
//
// It is the algorithm ddmin of Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002).
func Shrink(steps []Step, tries int, fails func([]Step) bool) []Step {
	for parts := 2; len(steps) >= 2 && tries > 0; {
		size := (len(steps) + parts - 1) / parts
		smaller := false
		for from := 0; from < len(steps) && tries > 0; from += size {
			rest := slices.Concat(steps[:from], steps[min(len(steps), from+size):])
			tries--
			if len(rest) > 0 && fails(sooner(rest)) {
				steps, parts, smaller = rest, max(parts-1, 2), true
				break
			}
		}
		if !smaller {
			if size == 1 {
				break
			}
			parts = min(2*parts, len(steps))
		}
	}
	if len(steps) == 1 && tries > 0 && fails([]Step{}) {
		return nil
	}
	return sooner(steps)
}

// sooner shortens each pause in which nothing is at work to a second.
func sooner(steps []Step) []Step {
	const pause = Span(time.Second)
	steps = slices.Clone(steps)
	var busy, saved Span
	for i := range steps {
		steps[i].At -= saved
		if idle := steps[i].At - busy; idle > pause {
			steps[i].At -= idle - pause
			saved += idle - pause
		}
		busy = max(busy, steps[i].At+steps[i].For)
	}
	return steps
}

package report

import (
	"slices"
	"strconv"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

const (
	finest     = 100 * time.Millisecond
	maxBuckets = 6000 // ten minutes of the finest; longer runs have wider ones
)

// step returns the width of buckets for a run of this length.
func step(length time.Duration) time.Duration {
	for unit := finest; ; unit *= 10 {
		for _, s := range [...]time.Duration{unit, 2 * unit, 5 * unit} {
			if length/s < maxBuckets {
				return s
			}
		}
	}
}

// outcomes are how many calls ended in each way, by bucket of time.
type outcomes struct {
	Step      float64 `json:"step"` // seconds
	OK        []int   `json:"ok"`
	Rejected  []int   `json:"rejected"`
	Failed    []int   `json:"failed"`
	Ambiguous []int   `json:"ambiguous"`
	Lost      []int   `json:"lost"`
}

func outcomesOf(h *history.History, length time.Duration) outcomes {
	width := step(length)
	n := int(length/width) + 1
	o := outcomes{width.Seconds(), make([]int, n), make([]int, n), make([]int, n), make([]int, n), make([]int, n)}
	by := map[history.Outcome][]int{
		history.OK: o.OK, history.Rejected: o.Rejected, history.Failed: o.Failed,
		history.Ambiguous: o.Ambiguous, history.Lost: o.Lost,
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		if b := by[c.Outcome]; b != nil {
			b[max(0, end(c))/width]++
		}
	}
	return o
}

// A value is a number with as many digits as a chart can show, or a gap.
type value float64

const gap value = -1

func (v value) MarshalJSON() ([]byte, error) {
	if !(v >= 0 && v < 1e300) { // not a number, neither
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(v), 'g', 4, 64), nil
}

// waits are percentiles of how long callers waited, in milliseconds, by bucket of time.
type waits struct {
	Step float64 `json:"step"` // seconds
	P50  []value `json:"p50"`
	P90  []value `json:"p90"`
	P99  []value `json:"p99"`
	Max  []value `json:"max"`
}

// waitsOf takes buckets ten times as wide as those of the outcomes: of five calls there is no 99th percentile.
func waitsOf(h *history.History, length time.Duration) waits {
	width := 10 * step(length)
	buckets := make([][]time.Duration, int(length/width)+1)
	for i := range h.Calls {
		if c := &h.Calls[i]; c.Outcome != history.Lost {
			at := max(0, end(c)) / width
			buckets[at] = append(buckets[at], wait(c))
		}
	}
	w := waits{Step: width.Seconds()}
	for _, b := range buckets {
		slices.Sort(b)
		w.P50 = append(w.P50, milliseconds(b, 50))
		w.P90 = append(w.P90, milliseconds(b, 90))
		w.P99 = append(w.P99, milliseconds(b, 99))
		w.Max = append(w.Max, milliseconds(b, 100))
	}
	return w
}

func milliseconds(sorted []time.Duration, p int) value {
	if len(sorted) == 0 {
		return gap
	}
	const least = 0.01 // a log axis has no zero
	return value(max(least, percentile(sorted, p).Seconds()*1000))
}

package status

import (
	"math/bits"
	"sync"
	"time"
)

const (
	slotLength = 2 * time.Second
	slots      = 30 // a minute, with the slot that is being filled
	buckets    = 256
)

// A window counts the calls of the last minute, in slots, and how long they took.
type window struct {
	mu    sync.Mutex // guards slots
	slots [slots]slot
}

type slot struct {
	n             int64 // which one it is, counted from the start of the recorder
	calls, errors uint32
	took          [buckets]uint32
}

// add counts a call that has ended at a time, counted from the start of the recorder, and what it took unless that is negative.
func (w *window) add(at, took time.Duration, failed bool) {
	n := int64(at / slotLength)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.slots[n%slots]
	if s.n != n {
		*s = slot{n: n}
	}
	s.calls++
	if took >= 0 {
		s.took[bucket(took)]++
	}
	if failed {
		s.errors++
	}
}

// A sum adds up windows.
type sum struct {
	calls, errors uint64
	timed         uint64 // calls in took
	took          [buckets]uint64
	history       [slots]uint64 // the slot that is being filled is the last
}

// add adds the minute that ends at a time.
func (s *sum) add(w *window, at time.Duration) {
	last := int64(at / slotLength)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.slots {
		slot := &w.slots[i]
		age := last - slot.n
		if age < 0 || age >= slots {
			continue
		}
		s.calls += uint64(slot.calls)
		s.errors += uint64(slot.errors)
		s.history[slots-1-age] += uint64(slot.calls)
		for b, n := range slot.took {
			s.took[b] += uint64(n)
			s.timed += uint64(n)
		}
	}
}

// traffic says what the sum comes to, of windows that were added at a time.
func (s *sum) traffic(at time.Duration) Traffic {
	seen := min(at, (slots-1)*slotLength+at%slotLength)
	seconds := max(seen, time.Second).Seconds() // or the first call would make a rate of thousands
	return Traffic{
		Rate: float64(s.calls) / seconds, Errors: float64(s.errors) / seconds,
		P50: s.quantile(0.5), P90: s.quantile(0.9), P99: s.quantile(0.99),
		History: s.history[:slots-1], // without the one that is being filled, which would look like a slump
	}
}

// quantile returns the seconds within which a part of the timed calls has ended, at most an eighth off.
func (s *sum) quantile(q float64) float64 {
	rank := q * float64(s.timed)
	for b, n := range s.took {
		if rank -= float64(n); n > 0 && rank <= 0 {
			from, to := bound(b), bound(b+1)
			return (to + (to-from)*rank/float64(n)) / 1e6
		}
	}
	return 0
}

// bucket returns where a duration is counted: one of eight in each power of two of microseconds, up to 4 hours.
func bucket(d time.Duration) int {
	us := uint64(d.Microseconds())
	if us < 8 {
		return int(us)
	}
	exponent := bits.Len64(us) - 1
	return min(8*(exponent-2)+int(us>>(exponent-3)&7), buckets-1)
}

// bound returns the shortest duration of a bucket, in microseconds.
func bound(b int) float64 {
	if b < 8 {
		return float64(b)
	}
	return float64(uint64(8+b%8) << (b/8 - 1))
}

package status

import (
	"math"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	last := 0
	for d := time.Duration(0); d < 5*time.Hour; d = d*17/16 + time.Microsecond {
		b := bucket(d)
		us := float64(d.Microseconds())
		if b < last || b >= buckets {
			t.Fatalf("%v is in bucket %d, after %d", d, b, last)
		}
		if last = b; b < buckets-1 && (us < bound(b) || us >= bound(b+1)) {
			t.Errorf("%v is in bucket %d, of %v to %v µs", d, b, bound(b), bound(b+1))
		}
		if width := bound(b+1) - bound(b); width > max(1, bound(b)/8) {
			t.Errorf("bucket %d is %v µs wide", b, width)
		}
	}
	if last != buckets-1 {
		t.Errorf("the last bucket that is used is %d of %d", last, buckets)
	}
}

func trafficAt(w *window, at time.Duration) Traffic {
	var s sum
	s.add(w, at)
	return s.traffic(at)
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want/8 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestTraffic(t *testing.T) {
	w := new(window)
	if got := trafficAt(w, time.Hour); got.Rate != 0 || got.P99 != 0 || len(got.History) != slots-1 {
		t.Errorf("of nothing: %+v", got)
	}
	const second = time.Second
	for i := range 1000 { // 10 a second, from 1 to 1000 ms, each tenth with an error
		w.add(100*second+time.Duration(i)*100*time.Millisecond, time.Duration(i+1)*time.Millisecond, i%10 == 0)
	}
	got := trafficAt(w, 200*second)
	near(t, "rate", got.Rate, 10)
	near(t, "rate of errors", got.Errors, 1)
	near(t, "p50", got.P50, 0.7) // of those that ended in the last minute: 400 to 1000 ms
	near(t, "p90", got.P90, 0.94)
	near(t, "p99", got.P99, 0.994)
	for i, n := range got.History {
		if n != 20 {
			t.Errorf("%d calls in part %d of the minute, want 20", n, i)
		}
	}

	// A minute later there was nothing; a month later neither.
	for _, at := range []time.Duration{260 * second, 30 * 24 * time.Hour} {
		if got := trafficAt(w, at); got.Rate != 0 || got.P50 != 0 {
			t.Errorf("after %v: %+v", at, got)
		}
	}
	near(t, "rate of half a minute in a whole one", trafficAt(w, 230*second).Rate, 5)

	// What was not timed has a rate, and no part in the percentiles.
	w.add(300*second, -1, true)
	w.add(300*second, 5*second, false)
	got = trafficAt(w, 301*second)
	near(t, "p50 of one", got.P50, 5)
	near(t, "rate of errors", got.Errors, 1.0/59)
}

// TestTrafficOfTheStart: the first calls are no storm, and no trickle either.
func TestTrafficOfTheStart(t *testing.T) {
	w := new(window)
	for range 100 {
		w.add(10*time.Millisecond, time.Millisecond, false)
	}
	near(t, "rate after a moment", trafficAt(w, 20*time.Millisecond).Rate, 100)
	near(t, "rate after 10 s", trafficAt(w, 10*time.Second).Rate, 10)
}

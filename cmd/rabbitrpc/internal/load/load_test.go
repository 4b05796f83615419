package load

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPauseShows is why there is an open loop: a pause of the server is in all calls that it delays, not only in the few
// that are under way.
func TestPauseShows(t *testing.T) {
	const pause = 100 * time.Millisecond
	var server sync.RWMutex // held while it pauses
	var began sync.Once
	start := time.Now()
	call := func(context.Context) error {
		if time.Since(start) > 150*time.Millisecond {
			began.Do(func() {
				server.Lock()
				time.AfterFunc(pause, server.Unlock)
			})
		}
		server.RLock()
		defer server.RUnlock()
		return nil
	}
	r := Load{Callers: 4, Duration: 500 * time.Millisecond, Rate: 1000}.Run(t.Context(), call)
	if r.OK() != 500 || r.Failed != 0 || r.Missed != 0 {
		t.Errorf("%d answered, %d failed, %d missed, want 500, 0, 0", r.OK(), r.Failed, r.Missed)
	}
	// A hundred of the 500 calls were to begin during the pause: half of them wait for more than half of it.
	if p := r.Percentile(90); p < pause/2 {
		t.Errorf("p90 is %v, want at least %v", p, pause/2)
	}
	if p := r.Percentile(100); p < pause*9/10 {
		t.Errorf("the longest is %v, want about %v", p, pause)
	}
}

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var calls atomic.Uint64
		r := Load{Callers: 3, Duration: time.Second}.Run(t.Context(), func(context.Context) error {
			time.Sleep(10 * time.Millisecond)
			if calls.Add(1)%10 == 0 {
				return broken
			}
			return nil
		})
		if n := calls.Load(); n != 300 || r.OK() != 270 || r.Failed != 30 {
			t.Errorf("%d calls, %d answered, %d failed, want 300, 270, 30", n, r.OK(), r.Failed)
		}
		if r.Failure != broken.Error() {
			t.Errorf("failure is %q, want %q", r.Failure, broken)
		}
		if r.Elapsed != time.Second || r.PerSecond() != 270 {
			t.Errorf("%v calls a second in %v, want 270 in 1s", r.PerSecond(), r.Elapsed)
		}
		for _, percent := range []float64{50, 99.9, 100} {
			if got := r.Percentile(percent); got.Round(100*time.Microsecond) != 10*time.Millisecond {
				t.Errorf("p%v is %v, want 10ms", percent, got)
			}
		}
	})
}

func TestTooFast(t *testing.T) {
	var calls atomic.Uint64
	r := Load{Callers: 1, Duration: 100 * time.Millisecond, Rate: 1000}.Run(t.Context(), func(context.Context) error {
		calls.Add(1)
		time.Sleep(20 * time.Millisecond)
		return nil
	})
	if n := calls.Load(); n < 2 || n > 15 || r.OK() != n || r.OK()+r.Missed != 100 {
		t.Errorf("%d calls, %d answered, %d missed, want about 10, as many, and 100 together", n, r.OK(), r.Missed)
	}
}

func TestStopped(t *testing.T) {
	for name, l := range map[string]Load{
		"closed": {Callers: 2, Duration: time.Hour},
		"open":   {Callers: 2, Duration: time.Hour, Rate: 100},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var calls atomic.Uint64
			r := l.Run(ctx, func(context.Context) error {
				if calls.Add(1) == 5 {
					cancel()
				}
				return nil
			})
			if n := calls.Load(); n < 5 || r.OK() != n || r.Missed != 0 {
				t.Errorf("%d calls, %d answered, %d missed, want at least 5, as many, and 0", n, r.OK(), r.Missed)
			}
		})
	}
}

func TestResultAsJSON(t *testing.T) {
	rec := newRecorder()
	for i := range 100 {
		rec.record(i, time.Duration(i+1)*time.Millisecond, nil)
	}
	rec.record(7, 0, errors.New("broken"))
	sent := rec.result(time.Second)
	if err := sent.Pack(); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got Result
	if err := errors.Join(json.Unmarshal(text, &got), got.Unpack()); err != nil {
		t.Fatal(err)
	}
	if got.OK() != 100 || got.Failed != 1 || got.Percentile(50) != sent.Percentile(50) {
		t.Errorf("got %d, %d, %v, want 100, 1, %v", got.OK(), got.Failed, got.Percentile(50), sent.Percentile(50))
	}
	if err := (&Result{Encoded: []byte("no histogram")}).Unpack(); err == nil {
		t.Error("a broken histogram was taken")
	}
}

func TestNothingAnswered(t *testing.T) {
	if p := newRecorder().result(time.Second).Percentile(99); p != 0 {
		t.Errorf("p99 of no calls is %v, want 0", p)
	}
}

package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// saw makes a window of a second in which n calls ended, with used of the limit in use, and all as long or not.
func saw(limit, n int, used float64, even bool) window {
	took := float64(limit) / float64(n)
	w := window{used: time.Duration(used * float64(limit) * float64(time.Second)), ended: n, sum: float64(n) * took, squares: float64(n) * took * took}
	if !even {
		w.squares *= 10
	}
	return w
}

// What the next limit is, after what was seen at this one and at the one before. The limit is 1 to 32.
func TestLimitStep(t *testing.T) {
	for _, tt := range []struct {
		name   string
		now    int
		before measurement
		saw    window
		want   int // 0: waits for more
	}{
		{"too little to do", 20, measurement{}, saw(20, 100, 0.85, true), 24},
		{"too little to do, with few calls", 20, measurement{}, saw(20, 1, 0.85, true), 24},
		{"too little to do at most", 32, measurement{}, saw(32, 100, 0.85, true), 32},
		{"too little to do at least", 1, measurement{}, saw(1, 100, 0.85, true), 2},
		{"enough to do for the first time", 24, measurement{}, saw(24, 100, 1, true), 20},
		{"at least for the first time", 1, measurement{}, saw(1, 100, 1, true), 1},
		{"few calls", 24, measurement{}, saw(24, 19, 1, true), 0},
		{"calls that differ", 24, measurement{}, saw(24, 100, 1, false), 0},
		{"many calls that differ", 24, measurement{}, saw(24, 2000, 1, false), 20},

		{"fewer did as much", 20, measurement{24, 100}, saw(20, 100, 1, true), 16},
		{"fewer did more", 20, measurement{24, 100}, saw(20, 120, 1, true), 16},
		{"fewer did a little less", 20, measurement{24, 100}, saw(20, 96, 1, true), 16},
		{"fewer did less", 20, measurement{24, 100}, saw(20, 85, 1, true), 24},
		{"more did more", 24, measurement{20, 100}, saw(24, 118, 1, true), 28},
		{"more did as much", 24, measurement{20, 100}, saw(24, 101, 1, true), 20},
		{"more did less", 24, measurement{20, 100}, saw(24, 80, 1, true), 20},
		{"the least did as much", 1, measurement{2, 100}, saw(1, 100, 1, true), 1},
		{"still the least", 1, measurement{1, 100}, saw(1, 100, 1, true), 2},
		{"still the most", 32, measurement{32, 100}, saw(32, 100, 1, true), 32},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLimit(1, 32)
			l.now, l.before, l.window = tt.now, tt.before, tt.saw
			done := l.step(time.Second)
			if done != (tt.want > 0) || done && l.now != tt.want || !done && l.now != tt.now {
				t.Errorf("got %d, %v, want %d", l.now, done, tt.want)
			}
			if idle := tt.saw.used.Seconds() < 0.9*float64(tt.now); done && (l.before.limit == 0) != idle {
				t.Errorf("remembers %+v", l.before)
			}
		})
	}
	t.Run("tries fewer again after ten rests", func(t *testing.T) {
		l := newLimit(1, 32)
		l.before = measurement{32, 100}
		for n := range 10 {
			if l.window = saw(32, 100, 1, true); l.now != 32 {
				t.Fatalf("%d after %d rests", l.now, n)
			}
			l.step(time.Second)
		}
		if l.now != 26 {
			t.Errorf("got %d, want 26", l.now)
		}
	})
}

// A window counts what ends after the calls that had begun before it, and all that runs.
func TestLimitWindow(t *testing.T) {
	l := newLimit(1, 4)
	now := time.Unix(0, 0)
	in := func() time.Time {
		if _, ok := l.enter(now, false); !ok {
			t.Fatal("refused")
		}
		return now
	}
	a := in()
	now = now.Add(time.Second)
	l.leave(a, now, true) // the first: now there is a pace
	if want := now.Add(time.Second); l.begin != want {
		t.Fatalf("%+v, want it to begin a second from now", l.window)
	}
	a, b := in(), in()
	now = now.Add(time.Second)
	now = now.Add(time.Second)
	l.leave(a, now, true)
	c := in()
	now = now.Add(time.Second)
	l.leave(b, now, false)
	if l.used != 4*time.Second || l.ended != 1 || l.running != 1 {
		t.Errorf("%v used, %d ended, %d running, want 4s, 1 and 1", l.used, l.ended, l.running)
	}
	now = now.Add(time.Second)
	l.leave(c, now, true) // after more than twice the pace
	if want := now.Add(time.Duration(l.pace)); l.begin != want || l.ended != 0 || l.used != 0 {
		t.Errorf("%+v, want the next", l.window)
	}
	a = in()
	now = now.Add(500 * time.Millisecond)
	l.leave(a, now, true)
	if l.ended != 0 || l.used != 0 {
		t.Errorf("%+v, want nothing counted", l.window)
	}
}

// Which calls count, and that none is left, whatever becomes of it.
func TestAdapt(t *testing.T) {
	no := rpc.Errorf(rpc.Aborted, "lost a race").WithExecuted(rpc.ExecutedNo)
	for _, tt := range []struct {
		name     string
		executed bool
		err      error
		panics   bool
		counts   bool
	}{
		{"executed", true, nil, false, true},
		{"executed and failed", true, rpc.Errorf(rpc.NotFound, "no such thing").WithExecuted(rpc.ExecutedYes), false, true},
		{"executed and failed without a code", true, errors.New("oops"), false, true},
		{"executed and panicked", true, nil, true, true},
		{"executed without effect", true, no, false, false},
		{"duplicate", false, nil, false, false},
		{"duplicate that failed", false, rpc.Errorf(rpc.NotFound, "no such thing").WithExecuted(rpc.ExecutedYes), false, false},
		{"refused by an interceptor", false, no, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Server{limit: newLimit(1, 1)}
			j := &job{}
			h := s.adapt(func(context.Context, *rpc.Request) (*rpc.Reply, error) {
				j.executed.Store(tt.executed)
				if tt.panics {
					panic("oops")
				}
				return nil, tt.err
			})
			func() {
				defer func() { recover() }()
				if _, err := h(withJob(t.Context(), j), &rpc.Request{}); err != tt.err {
					t.Errorf("got %v, want %v", err, tt.err)
				}
			}()
			if counts := s.limit.pace > 0; s.limit.running != 0 || counts != tt.counts {
				t.Errorf("%d running, counts: %v, want none and %v", s.limit.running, counts, tt.counts)
			}
		})
	}
}

// What is over the limit is refused, but for what the broker delivers again.
func TestAdaptRefuses(t *testing.T) {
	s := &Server{limit: newLimit(1, 1)}
	s.limit.pace = pace(time.Second)
	ran := 0
	h := s.adapt(func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		ran++
		return nil, nil
	})
	ctx := withJob(t.Context(), &job{})
	s.limit.enter(time.Now(), false)
	_, err := h(ctx, &rpc.Request{})
	var e *rpc.Error
	if !errors.As(err, &e) || e.Code != rpc.ResourceExhausted || e.Executed != rpc.ExecutedNo || ran != 0 {
		t.Errorf("got %v, executed %v, after %d runs, want resource_exhausted, no, 0", err, rpc.Executed(err), ran)
	}
	if e.RetryAfter < time.Second/2 || e.RetryAfter > 3*time.Second/2 {
		t.Errorf("retry after %v, want about as long as a call takes", e.RetryAfter)
	}
	if s.Stats().Refused != 1 {
		t.Errorf("%+v, want one refused", s.Stats())
	}
	if _, err := h(ctx, &rpc.Request{Redelivered: true}); err != nil || ran != 1 {
		t.Errorf("delivered again: got %v after %d runs, want it to run", err, ran)
	}
	if s.limit.running != 1 {
		t.Errorf("%d running, want 1", s.limit.running)
	}
}

// withJob returns the context of a request that runs.
func withJob(ctx context.Context, j *job) context.Context {
	j.ctx, j.deadline = requestContext{ctx, j}, time.Now().Add(time.Hour)
	return j.begin()
}

func TestTenantsAreForgotten(t *testing.T) {
	tt := &tenants{most: 2, running: make(map[idempotency.Tenant]int)}
	for range 2 {
		for _, who := range []idempotency.Tenant{{User: "a"}, {Client: "a"}, {Client: "b"}} {
			tt.enter(who, false)
			tt.enter(who, false)
			if _, ok := tt.enter(who, false); ok {
				t.Errorf("%v is let in", who)
			}
			if _, ok := tt.enter(who, true); !ok {
				t.Errorf("%v is not let in", who)
			}
			for range 3 {
				tt.leave(who, 0, false)
			}
		}
		if len(tt.running) != 0 {
			t.Errorf("%v are remembered", tt.running)
		}
	}
}

// benchmark measures what an interceptor costs a call.
func benchmark(b *testing.B, with func(*Server) rpc.Interceptor) {
	s := &Server{limit: newLimit(1, 64), opts: options{tenant: 64}}
	h := with(s)(func(context.Context, *rpc.Request) (*rpc.Reply, error) { return nil, nil })
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		j := &job{}
		j.executed.Store(true)
		ctx, r := withJob(context.Background(), j), &rpc.Request{Client: "caller"}
		for pb.Next() {
			h(ctx, r)
		}
	})
}

func BenchmarkAdaptiveLimit(b *testing.B) {
	benchmark(b, func(s *Server) rpc.Interceptor { return s.adapt })
}

func BenchmarkTenantLimit(b *testing.B) {
	benchmark(b, func(s *Server) rpc.Interceptor { return s.limitTenants })
}

// A call that hung for an hour hides the others for minutes, and not for hours.
func TestLimitOutlier(t *testing.T) {
	l := newLimit(1, 64)
	now := time.Unix(0, 0)
	busy(l, &now, time.Second)
	l.now = 2 // where an outage has left it
	l.enter(now, true)
	l.leave(now.Add(-time.Hour), now, true)
	begin := now
	for l.now < 32 {
		busy(l, &now, time.Second)
		if now.Sub(begin) > 10*time.Minute {
			t.Fatalf("the limit is %d after %v", l.now, now.Sub(begin))
		}
	}
}

// busy has a server at its limit for d: each call takes 10 ms, and so more of them do more.
func busy(l *limit, now *time.Time, d time.Duration) {
	var starts []time.Time // of the calls that run, in order
	for until := now.Add(d); now.Before(until); {
		for {
			if _, ok := l.enter(*now, false); !ok {
				break
			}
			starts = append(starts, *now)
			*now = now.Add(time.Microsecond)
		}
		if end := starts[0].Add(10 * time.Millisecond); end.After(*now) {
			*now = end
		}
		l.leave(starts[0], *now, true)
		starts = starts[1:]
	}
	for _, start := range starts {
		l.leave(start, *now, false)
	}
}

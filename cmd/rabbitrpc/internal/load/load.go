// Package load makes calls, one after the other or at a rate, and measures them.
package load

import (
	"context"
	"sync"
	"time"
)

// A Call makes one call. It is used by all callers at a time.
type Call func(context.Context) error

// A Load says what calls to make.
type Load struct {
	Callers  int           // calls that run at a time, at most
	Duration time.Duration // in which calls begin
	Rate     float64       // calls per second that begin, whether the earlier ones are answered or not; 0: as many as are answered
}

// Run makes the calls, and returns once the last has ended. When ctx ends no more begin; what has been measured is returned.
//
// Without a rate each caller begins a call when its last one has ended: a closed loop. With one, each call has a time at
// which it is to begin, and what it takes counts from then, even if all callers were busy with slow calls: an open loop,
// in which a pause shows in all calls that it has delayed. What could not begin within twice the duration is [Result.Missed].
func (l Load) Run(ctx context.Context, call Call) *Result {
	r := newRecorder()
	start := time.Now()
	if l.Rate > 0 {
		r.missed = l.open(ctx, start, r, call)
	} else {
		l.closed(ctx, start, r, call)
	}
	return r.result(time.Since(start))
}

func (l Load) closed(ctx context.Context, start time.Time, r *recorder, call Call) {
	end := start.Add(l.Duration)
	var wg sync.WaitGroup
	for i := range l.Callers {
		wg.Go(func() {
			for begin := time.Now(); begin.Before(end) && ctx.Err() == nil; {
				err := call(ctx)
				now := time.Now()
				r.record(i, now.Sub(begin), err)
				begin = now
			}
		})
	}
	wg.Wait()
}

// open returns how many calls were too late to begin.
func (l Load) open(ctx context.Context, start time.Time, r *recorder, call Call) (missed uint64) {
	p, err := newPacer()
	if err != nil {
		r.fail(err)
		return 0
	}
	defer p.close()
	due := make(chan time.Time)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(due)
	for i := range l.Callers {
		wg.Go(func() {
			for at := range due {
				err := call(ctx)
				r.record(i, time.Since(at), err)
			}
		})
	}
	total := uint64(l.Rate * l.Duration.Seconds())
	late := time.NewTimer(2 * l.Duration)
	defer late.Stop()
	for n := range total {
		at := start.Add(time.Duration(float64(n) / l.Rate * float64(time.Second)))
		p.until(at)
		select {
		case due <- at:
		case <-late.C:
			return total - n
		case <-ctx.Done():
			return 0
		}
	}
	return 0
}

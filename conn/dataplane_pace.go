package conn

import (
	"sync/atomic"
	"time"
)

// A pace tells how long what comes had better wait for more. A goroutine that is woken for one message costs as much as one for thirty.
//
// A Go program can hardly sleep for less than a millisecond: the poller that it sleeps in counts these.
type pace struct {
	start time.Time
	end   atomic.Int64 // after start, by the monotonic clock
	wait  atomic.Int64 // up to then
}

func (p *pace) set(wait time.Duration, until time.Time) {
	p.wait.Store(int64(wait))
	p.end.Store(int64(until.Sub(p.start)))
}

// gathering is how long to wait now.
func (p *pace) gathering() time.Duration {
	if end := p.end.Load(); end <= 0 || int64(time.Since(p.start)) >= end {
		return 0
	}
	return time.Duration(p.wait.Load())
}

package conn

import (
	"sync/atomic"
	"time"
)

// gathering is how long what comes waits for more. It is about the least that a Go program can sleep: the poller that it
// sleeps in counts milliseconds.
const gathering = time.Millisecond

// A pace tells whether what comes had better wait for more. A goroutine that is woken for one message costs as much as one for thirty.
type pace struct {
	start time.Time
	end   atomic.Int64 // after start, by the monotonic clock
}

func (p *pace) until(t time.Time) { p.end.Store(int64(t.Sub(p.start))) }

func (p *pace) gathers() bool {
	end := p.end.Load()
	return end > 0 && int64(time.Since(p.start)) < end
}

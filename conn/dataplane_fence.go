package conn

import (
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// fencePatience is how long those wait for others who can.
const fencePatience = 2 * time.Millisecond

// A fence tells when the broker has routed what was published on a channel. It does what comes on a channel one after the
// other, so the answer to a question that changes nothing says that all before it is done. One question is out at a time:
// what is published meanwhile shares the next. So the more is published, the less a confirmation costs.
//
// It is guarded by outbox.mu.
type fence struct {
	s        *session
	channel  uint16
	asked    []func(ok bool) // published before the question that is out, or the next one
	out      bool            // a question
	next     []func(ok bool) // published after it
	urgent   bool            // some of next cannot wait
	patience *time.Timer     // for those that can wait, while no question is out
	watchdog *time.Timer     // as for each synchronous method; it runs while the question is out
	routed   []func(ok bool) // the reader's own
}

func (f *fence) init(s *session, channel uint16) {
	f.s, f.channel = s, channel
	f.watchdog = time.AfterFunc(opTimeout, f.unanswered)
	f.watchdog.Stop()
	f.patience = time.AfterFunc(fencePatience, f.askLate)
	f.patience.Stop()
}

// unanswered ends the session. A broker that takes no messages reads nothing, and is waited for.
func (f *fence) unanswered() {
	if f.s.Blocked() != nil && f.s.Err() == nil {
		f.watchdog.Reset(opTimeout)
		return
	}
	f.s.die(fmt.Errorf("publish: no answer within %v", opTimeout))
}

// stop has nothing asked or told any more.
func (f *fence) stop() {
	o := &f.s.pub.line.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	f.watchdog.Stop()
	f.patience.Stop()
	f.asked, f.next, f.out = nil, nil, false
}

// add comes after the message that it is for was queued.
func (f *fence) add(confirmed func(ok bool), later bool) {
	if f.out {
		f.next = append(f.next, confirmed)
		f.urgent = f.urgent || !later
		return
	}
	f.asked = append(f.asked, confirmed)
	switch {
	case !later:
		f.ask()
	case len(f.asked) == 1:
		f.patience.Reset(fencePatience)
	}
}

// askLate asks for those who could wait.
func (f *fence) askLate() {
	o := &f.s.pub.line.outbox
	o.mu.Lock()
	if f.out || len(f.asked) == 0 || o.err != nil || f.s.Err() != nil {
		o.mu.Unlock()
		return
	}
	f.ask()
	o.flush()
}

func (f *fence) ask() {
	f.patience.Stop()
	o := &f.s.pub.line.outbox
	o.queued = frame.AppendQos(o.queued, f.channel)
	f.out = true
	f.watchdog.Reset(opTimeout)
}

// pass takes an answer, tells those who wait for it, and asks again for those who have come since.
func (f *fence) pass() {
	o := &f.s.pub.line.outbox
	o.mu.Lock()
	if !f.out {
		o.mu.Unlock()
		return
	}
	f.watchdog.Stop()
	f.routed, f.asked = f.asked, f.routed[:0]
	o.mu.Unlock()
	for i, confirmed := range f.routed {
		confirmed(true)
		f.routed[i] = nil
	}
	o.mu.Lock()
	urgent := f.urgent
	f.asked, f.next = f.next, f.asked
	f.out, f.urgent = false, false
	switch {
	case len(f.asked) == 0 || o.err != nil:
	case urgent:
		f.ask()
		o.flush()
		return
	default:
		f.patience.Reset(fencePatience)
	}
	o.mu.Unlock()
}

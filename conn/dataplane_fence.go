package conn

import (
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// A fence tells when the broker has routed what was published on a channel. It does what comes on a channel one after the
// other, so the answer to a question that changes nothing says that all before it is done. One question is out at a time:
// what is published meanwhile shares the next. So the more is published, the less a confirmation costs.
//
// It is guarded by outbox.mu.
type fence struct {
	s        *session
	channel  uint16
	asked    []func(ok bool) // published before the question that is out
	next     []func(ok bool) // published after it
	out      bool
	watchdog *time.Timer     // as for each synchronous method; it runs while the question is out
	routed   []func(ok bool) // the reader's own
}

func (f *fence) init(s *session, channel uint16) {
	f.s, f.channel = s, channel
	f.watchdog = time.AfterFunc(opTimeout, f.unanswered)
	f.watchdog.Stop()
}

// unanswered ends the session. A broker that takes no messages reads nothing, and is waited for.
func (f *fence) unanswered() {
	if f.s.Blocked() != nil && f.s.Err() == nil {
		f.watchdog.Reset(opTimeout)
		return
	}
	f.s.die(fmt.Errorf("publish: no answer within %v", opTimeout))
}

// add comes after the message that it is for was queued.
func (f *fence) add(confirmed func(ok bool)) {
	if f.out {
		f.next = append(f.next, confirmed)
		return
	}
	f.asked = append(f.asked, confirmed)
	f.ask()
}

func (f *fence) ask() {
	o := &f.s.pub.line.outbox
	o.queued = frame.AppendQos(o.queued, f.channel)
	f.out = true
	f.watchdog.Reset(opTimeout)
}

// pass takes an answer, tells those who wait for it, and asks again for those who have come since.
func (f *fence) pass() {
	o := &f.s.pub.line.outbox
	o.mu.Lock()
	f.watchdog.Stop()
	f.routed, f.asked = f.asked, f.routed[:0]
	o.mu.Unlock()
	for i, confirmed := range f.routed {
		confirmed(true)
		f.routed[i] = nil
	}
	o.mu.Lock()
	f.asked, f.next = f.next, f.asked
	if f.out = false; len(f.asked) == 0 || o.err != nil {
		o.mu.Unlock()
		return
	}
	f.ask()
	o.flush()
}

package conn

import "github.com/rabbitrpc/rabbitrpc/conn/internal/frame"

// A fence tells when the broker has routed what was published on a channel. It does what comes on a channel one after the
// other, so the answer to a question that changes nothing says that all before it is done. One question is out at a time:
// what is published meanwhile shares the next. So the more is published, the less a confirmation costs.
//
// It is guarded by outbox.mu.
type fence struct {
	asked  []func(ok bool) // published before the question that is out
	next   []func(ok bool) // published after it
	out    bool
	routed []func(ok bool) // the reader's own
}

// add comes after the message that it is for was queued.
func (f *fence) add(confirmed func(ok bool), o *outbox, channel uint16) {
	if f.out {
		f.next = append(f.next, confirmed)
		return
	}
	f.out = true
	f.asked = append(f.asked, confirmed)
	o.queued = frame.AppendQos(o.queued, channel)
}

// pass takes an answer, tells those who wait for it, and asks again for those who have come since.
func (f *fence) pass(o *outbox, channel uint16) {
	o.mu.Lock()
	f.routed, f.asked = f.asked, f.routed[:0]
	o.mu.Unlock()
	for i, confirmed := range f.routed {
		confirmed(true)
		f.routed[i] = nil
	}
	o.mu.Lock()
	f.asked, f.next = f.next, f.asked
	if f.out = len(f.asked) > 0; !f.out || o.err != nil {
		o.mu.Unlock()
		return
	}
	o.queued = frame.AppendQos(o.queued, channel)
	o.flush()
}

package conn

import "github.com/rabbitrpc/rabbitrpc/conn/internal/frame"

// acks knows the deliveries of a channel that the broker counts as not acknowledged, in the order of their tags. An
// acknowledgement waits here for the next write. If all before it wait as well, one takes the place of all: for the broker
// that is less than half of the work. None waits for another: what is to be written goes with the next write, multiple or
// not.
//
// It is guarded by outbox.mu.
type acks struct {
	channel     uint16
	latest      uint64 // tag
	gap         bool   // a tag was missing: what is not known here must not be acknowledged with others
	first, last *received
	due         []*received // to be acknowledged with the next write
}

// A received is a delivery that is not acknowledged.
type received struct {
	Delivery
	consumer   *dataConsumer
	tag        uint64
	acked      bool // it is due, or was
	prev, next *received
}

func (r *received) settle(ack, requeue bool) error { return r.consumer.settle(r, ack, requeue) }

func (a *acks) add(r *received) {
	if r.tag != a.latest+1 {
		a.gap = true
	}
	a.latest = r.tag
	if r.prev = a.last; r.prev == nil {
		a.first = r
	} else {
		r.prev.next = r
	}
	a.last = r
}

func (a *acks) remove(r *received) {
	if r.prev == nil {
		a.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		a.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}

// ack has r acknowledged with the next write, and reports whether it is the first.
func (a *acks) ack(r *received) bool {
	r.acked = true
	a.due = append(a.due, r)
	return len(a.due) == 1
}

// append appends what is due: the beginning of the list with one frame, the others one by one.
func (a *acks) append(b []byte) []byte {
	var until uint64
	together := 0
	for r := a.first; r != nil && r.acked && !a.gap; r = a.first {
		until = r.tag
		together++
		a.remove(r)
	}
	if together > 0 {
		b = frame.AppendAck(b, a.channel, until, together > 1)
	}
	for i, r := range a.due {
		if r.tag > until {
			b = frame.AppendAck(b, a.channel, r.tag, false)
			a.remove(r)
		}
		a.due[i] = nil
	}
	a.due = a.due[:0]
	return b
}

package conntest

import "time"

// A Fault is something that goes wrong once, at the n-th of some event in a process, counted from the moment that it is
// armed with [Connector.Fail]; the next one is the first.
type Fault struct {
	at     event
	n      int
	effect effect
	by     time.Duration // how late something is
}

// LoseBeforePublish loses the n-th publish on its way, and the session with it. Publish returns nil.
func LoseBeforePublish(n int) Fault { return Fault{at: publishing, n: n, effect: loseBefore} }

// LoseAfterPublish loses the session after the n-th publish has reached the broker. Publish returns nil, and the broker's
// verdict never comes.
func LoseAfterPublish(n int) Fault { return Fault{at: publishing, n: n, effect: loseAfter} }

// FailPublish is LoseAfterPublish with a Publish that returns an error, for which [conn.NotSent] does not hold.
func FailPublish(n int) Fault { return Fault{at: publishing, n: n, effect: failPublish} }

// RefusePublish makes the broker refuse the n-th publish: confirmed(false), or silence if nobody asked.
func RefusePublish(n int) Fault { return Fault{at: publishing, n: n, effect: refuse} }

// DropConfirm keeps the broker's verdict on the n-th publish that asks for one from coming. The session lives on.
func DropConfirm(n int) Fault { return Fault{at: confirming, n: n, effect: dropConfirm} }

// DuplicateDelivery delivers the n-th delivery twice, as if it had been published twice.
func DuplicateDelivery(n int) Fault { return Fault{at: delivering, n: n, effect: duplicate} }

// LoseAck loses the n-th Ack on its way, and the session with it: the message will be delivered again. Ack returns nil.
func LoseAck(n int) Fault { return Fault{at: acking, n: n, effect: loseAck} }

// SlowPublish makes the n-th publish return d after the broker has the message, as for a goroutine that waits for its turn:
// an answer may be there first.
func SlowPublish(n int, d time.Duration) Fault {
	return Fault{at: publishing, n: n, effect: slowPublish, by: d}
}

// LatePublish keeps the n-th publish on its way for d, and those of the session that come after it behind it, as in the buffer
// of a socket: if the session ends before, they are lost. Publish returns at once. Acknowledgements take another connection,
// and are not late.
func LatePublish(n int, d time.Duration) Fault {
	return Fault{at: publishing, n: n, effect: latePublish, by: d}
}

// LateConfirm keeps the broker's verdict on the n-th publish that asks for one on its way for d, and those after it.
func LateConfirm(n int, d time.Duration) Fault {
	return Fault{at: confirming, n: n, effect: lateConfirm, by: d}
}

// LateDelivery keeps the n-th delivery on its way for d, and those to the same consumer after it.
func LateDelivery(n int, d time.Duration) Fault {
	return Fault{at: delivering, n: n, effect: lateDelivery, by: d}
}

// LateDuplicate is DuplicateDelivery with d between the two.
func LateDuplicate(n int, d time.Duration) Fault {
	return Fault{at: delivering, n: n, effect: lateDuplicate, by: d}
}

type event int

const (
	publishing event = iota
	confirming       // publishing with a wish for a confirmation
	delivering
	acking
)

type effect uint

const (
	loseBefore effect = 1 << iota
	loseAfter
	failPublish
	refuse
	dropConfirm
	duplicate
	loseAck
	slowPublish
	latePublish
	lateConfirm
	lateDelivery
	lateDuplicate
)

// A strike is all that happens to one event.
type strike struct {
	effect
	by time.Duration
}

func (e effect) has(f effect) bool { return e&f != 0 }

type armed struct {
	Fault
	struck chan struct{}
}

// Fail arms a fault. The channel is closed when it has struck: a test in which it has not shows nothing.
func (c *Connector) Fail(f Fault) (struck <-chan struct{}) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	a := &armed{f, make(chan struct{})}
	c.armed = append(c.armed, a)
	return a.struck
}

// Disarm takes back all faults that have not struck.
func (c *Connector) Disarm() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.armed = nil
}

// happens counts an event, and returns the faults that strike now.
func (c *Connector) happens(at event) (now strike) {
	if len(c.armed) == 0 {
		return now
	}
	waiting := c.armed[:0]
	for _, a := range c.armed {
		if a.at == at {
			a.n--
		}
		if a.at == at && a.n <= 0 {
			now.effect |= a.effect
			now.by = max(now.by, a.by)
			close(a.struck)
		} else {
			waiting = append(waiting, a)
		}
	}
	c.armed = waiting
	return now
}

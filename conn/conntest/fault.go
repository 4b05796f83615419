package conntest

// A Fault is something that goes wrong once, at the n-th of some event in a process, counted from the moment that it is
// armed with [Connector.Fail]; the next one is the first.
type Fault struct {
	at     event
	n      int
	effect effect
}

// LoseBeforePublish loses the n-th publish on its way, and the session with it. Publish returns nil.
func LoseBeforePublish(n int) Fault { return Fault{publishing, n, loseBefore} }

// LoseAfterPublish loses the session after the n-th publish has reached the broker. Publish returns nil, and the broker's
// verdict never comes.
func LoseAfterPublish(n int) Fault { return Fault{publishing, n, loseAfter} }

// FailPublish is LoseAfterPublish with a Publish that returns an error, for which [conn.NotSent] does not hold.
func FailPublish(n int) Fault { return Fault{publishing, n, failPublish} }

// RefusePublish makes the broker refuse the n-th publish: confirmed(false), or silence if nobody asked.
func RefusePublish(n int) Fault { return Fault{publishing, n, refuse} }

// DropConfirm keeps the broker's verdict on the n-th publish that asks for one from coming. The session lives on.
func DropConfirm(n int) Fault { return Fault{confirming, n, dropConfirm} }

// DuplicateDelivery delivers the n-th delivery twice, as if it had been published twice.
func DuplicateDelivery(n int) Fault { return Fault{delivering, n, duplicate} }

// LoseAck loses the n-th Ack on its way, and the session with it: the message will be delivered again. Ack returns nil.
func LoseAck(n int) Fault { return Fault{acking, n, loseAck} }

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
)

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

// happens counts an event, and returns the effects of the faults that strike now.
func (c *Connector) happens(at event) (effects effect) {
	waiting := c.armed[:0]
	for _, a := range c.armed {
		if a.at == at {
			a.n--
		}
		if a.at == at && a.n <= 0 {
			effects |= a.effect
			close(a.struck)
		} else {
			waiting = append(waiting, a)
		}
	}
	c.armed = waiting
	return effects
}

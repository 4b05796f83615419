package conntest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A queue keeps messages in order and hands them to its consumers in turn. All of it is guarded by the broker's mutex.
type queue struct {
	b *Broker
	conn.Queue
	limits
	owner     *session // of an exclusive queue
	ready     []*message
	unacked   int
	consumers []*consumer // the first has its turn next
	lastSeq   uint64
	expiry    *time.Timer // of the first message
	deleted   bool
}

func (q *queue) state() QueueState {
	return QueueState{Name: q.Name, Ready: len(q.ready), Unacked: q.unacked, Consumers: len(q.consumers)}
}

// add takes a message in, or refuses it, and hands out what it can.
func (q *queue) add(m message) bool {
	taken := q.take(m)
	q.trim()
	q.run()
	return taken
}

// take is add without what comes of it: who publishes to several queues gives it to all of them before.
func (q *queue) take(m message) bool {
	if q.rejectPublish && q.maxLength >= 0 && len(q.ready)+1 > q.maxLength {
		if q.deadLetterNew {
			q.b.deadLetter(q, &m, "maxlen")
		}
		return false
	}
	q.lastSeq++
	m.seq, m.deadline = q.lastSeq, q.deadline(&m)
	if len(q.ready) == 0 {
		if c := q.next(); c != nil {
			c.deliver(&m) // with no look at its deadline: an expiration of "0" means now or never
			return true
		}
	}
	q.ready = append(q.ready, &m)
	return true
}

func (q *queue) deadline(m *message) time.Time {
	ttl := q.ttl
	if ms, err := strconv.ParseInt(m.Expiration, 10, 64); err == nil {
		if own := time.Duration(ms) * time.Millisecond; ttl < 0 || own < ttl {
			ttl = own
		}
	}
	if ttl < 0 {
		return time.Time{}
	}
	return time.Now().Add(ttl)
}

// giveBack puts a message that was delivered to its old place.
func (q *queue) giveBack(m *message) {
	if q.deleted {
		return
	}
	m.redelivered = true
	m.returns++
	if q.deliveryLimit >= 0 && m.returns > q.deliveryLimit {
		q.b.deadLetter(q, m, "delivery_limit")
		return
	}
	i, _ := slices.BinarySearchFunc(q.ready, m.seq, func(m *message, seq uint64) int { return int(int64(m.seq - seq)) })
	q.ready = slices.Insert(q.ready, i, m)
	q.trim()
}

// run hands out what it can.
func (q *queue) run() {
	if q.b.down {
		return
	}
	for q.expire(); len(q.ready) > 0; q.expire() {
		c := q.next()
		if c == nil {
			break
		}
		c.deliver(q.pop())
	}
	if q.expiry != nil {
		q.expiry.Stop()
		q.expiry = nil
	}
	if len(q.ready) > 0 && !q.ready[0].deadline.IsZero() {
		q.expiry = time.AfterFunc(time.Until(q.ready[0].deadline), func() {
			q.b.mu.Lock()
			defer q.b.mu.Unlock()
			q.run()
		})
	}
}

// expire drops messages from the head whose time has passed. RabbitMQ does not look behind the head either.
func (q *queue) expire() {
	for len(q.ready) > 0 {
		at := q.ready[0].deadline
		if at.IsZero() || time.Now().Before(at) {
			return
		}
		q.b.deadLetter(q, q.pop(), "expired")
	}
}

// trim drops the oldest messages above the limit.
func (q *queue) trim() {
	for q.maxLength >= 0 && !q.rejectPublish && len(q.ready) > q.maxLength {
		q.b.deadLetter(q, q.pop(), "maxlen")
	}
}

func (q *queue) pop() *message {
	m := q.ready[0]
	q.ready = q.ready[1:]
	return m
}

// next returns the consumer whose turn it is among those with room, and sends it to the end of the line.
func (q *queue) next() *consumer {
	i := slices.IndexFunc(q.consumers, (*consumer).hasRoom)
	if i < 0 {
		return nil
	}
	c := q.consumers[i]
	q.consumers = append(slices.Delete(q.consumers, i, i+1), c)
	return c
}

// leave removes a consumer, and the queue if it goes with its last one.
func (q *queue) leave(c *consumer) {
	if i := slices.Index(q.consumers, c); i >= 0 {
		q.consumers = slices.Delete(q.consumers, i, i+1)
		if q.AutoDelete && len(q.consumers) == 0 {
			q.delete()
		}
	}
}

// restart drops what does not survive a stop of the broker.
func (q *queue) restart() {
	if !q.quorum {
		q.ready = slices.DeleteFunc(q.ready, func(m *message) bool { return !m.Persistent })
	}
}

// delete removes the queue with all that is in it, and ends the sessions of its consumers.
func (q *queue) delete() {
	if q.deleted {
		return
	}
	q.deleted = true
	q.ready, q.unacked = nil, 0
	if q.expiry != nil {
		q.expiry.Stop()
	}
	q.b.queues = slices.DeleteFunc(q.b.queues, func(other *queue) bool { return other == q })
	for _, x := range q.b.exchanges {
		x.bindings = slices.DeleteFunc(x.bindings, func(bind binding) bool { return bind.queue == q })
	}
	var losers []*session
	for _, c := range q.consumers {
		losers = append(losers, c.s)
	}
	endAll(losers, fmt.Errorf("consumer of %s: %w", q.Name, conn.ErrCancelled))
}

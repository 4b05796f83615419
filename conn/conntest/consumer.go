package conntest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A consumer is a [conn.Consumer].
type consumer struct {
	conn.Consume
	s         *session
	q         *queue
	handle    func(*conn.Delivery)
	box       *mailbox
	ended     chan struct{} // closed when handle runs no more
	cancelled atomic.Bool

	outstanding int // guarded by the broker's mutex
}

// unsettled is a delivery that waits for its acknowledgement.
type unsettled struct {
	m *message
	q *queue
	c *consumer
}

func (s *session) Consume(ctx context.Context, settings conn.Consume, handle func(*conn.Delivery)) (conn.Consumer, error) {
	if !settings.NoAck && (settings.Prefetch < 1 || settings.Prefetch > 65535) {
		return nil, fmt.Errorf("consume %s: prefetch must be 1 to 65535, got %d", settings.Queue, settings.Prefetch)
	}
	c := &consumer{Consume: settings, s: s, handle: handle, box: newMailbox(), ended: make(chan struct{})}
	err := s.do(ctx, "consume "+settings.Queue, func() error {
		q, err := s.b.usable(settings.Queue, s)
		if err != nil {
			return err
		}
		if !q.quorum && len(q.consumers) > 0 && (c.Exclusive || q.consumers[0].Exclusive) {
			return &conn.Error{Code: 403, Reason: fmt.Sprintf("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", q.Name)}
		}
		c.q = q
		s.consumers = append(s.consumers, c)
		q.consumers = append(q.consumers, c)
		s.start(func() {
			defer close(c.ended)
			c.box.run(s.done)
		})
		q.run()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *consumer) hasRoom() bool {
	return !c.s.leaving && (c.NoAck || c.outstanding < c.Prefetch)
}

// deliver sends m to the consumer, twice if a fault says so.
func (c *consumer) deliver(m *message) {
	faults := c.s.c.happens(delivering)
	c.send(m, faults)
	switch {
	case faults.has(duplicate):
		c.again(m)
	case faults.has(lateDuplicate):
		time.AfterFunc(faults.by, func() {
			c.s.b.mu.Lock()
			defer c.s.b.mu.Unlock()
			if !c.q.deleted && slices.Contains(c.s.consumers, c) && !c.s.over {
				c.again(m)
			}
		})
	}
}

func (c *consumer) again(m *message) {
	again := *m
	c.q.lastSeq++
	again.seq = c.q.lastSeq
	c.send(&again, strike{})
}

func (c *consumer) send(m *message, faults strike) {
	var settle func(ack, requeue bool) error
	if !c.NoAck {
		u := &unsettled{m: m, q: c.q, c: c}
		c.s.unsettled = append(c.s.unsettled, u)
		c.outstanding++
		c.q.unacked++
		settle = u.settle
	}
	received := onWire(&m.Message)
	if c.q.quorum && m.returns > 0 {
		if received.Headers == nil {
			received.Headers = make(map[string]any)
		}
		received.Headers["x-delivery-count"] = int64(m.returns)
	}
	d := conn.NewDelivery(received, m.redelivered, settle)
	c.box.put(func() {
		c.s.c.awake()
		if !faults.has(lateDelivery) || c.s.wait(faults.by) {
			c.handle(d)
		}
	})
}

func (u *unsettled) settle(ack, requeue bool) error {
	s := u.c.s
	s.c.awake()
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.over {
		return s.closedErr("settle")
	}
	if ack && s.c.happens(acking).has(loseAck) {
		s.end(errLost)
		return nil
	}
	i := slices.Index(s.unsettled, u)
	if i < 0 {
		err := &conn.Error{Code: 406, Reason: "PRECONDITION_FAILED - unknown delivery tag"}
		s.end(err)
		return err
	}
	s.unsettled = slices.Delete(s.unsettled, i, i+1)
	u.c.outstanding--
	if u.q.deleted {
		return nil
	}
	u.q.unacked--
	switch {
	case ack:
	case requeue:
		u.q.giveBack(u.m)
	default:
		s.b.deadLetter(u.q, u.m, "rejected")
	}
	u.q.run()
	return nil
}

func (c *consumer) Cancel(ctx context.Context) error {
	if c.cancelled.Swap(true) {
		return nil
	}
	err := c.s.do(ctx, "cancel", func() error {
		c.s.consumers = slices.DeleteFunc(c.s.consumers, func(other *consumer) bool { return other == c })
		c.q.leave(c)
		c.box.close()
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancel: %w", ctx.Err())
	}
}

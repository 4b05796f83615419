package conntest

import (
	"context"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A publisher is a [conn.Publisher].
type publisher struct {
	s        *session
	onReturn func(*conn.Return)

	closed  bool             // guarded by the broker's mutex, as what follows is
	last    [2]*conn.Message // without and with a confirmation
	refused *conn.Message
}

// Refused implements [conn.Publisher].
func (p *publisher) Refused() *conn.Message {
	p.s.b.mu.Lock()
	defer p.s.b.mu.Unlock()
	return p.refused
}

func (s *session) OpenPublisher(ctx context.Context, onReturn func(*conn.Return)) (conn.Publisher, error) {
	p := &publisher{s: s, onReturn: onReturn}
	if err := s.do(ctx, "open publisher", func() error { return nil }); err != nil {
		return nil, err
	}
	return p, nil
}

// Close implements [conn.Publisher].
func (p *publisher) Close(context.Context) error {
	p.s.c.awake()
	p.s.b.mu.Lock()
	defer p.s.b.mu.Unlock()
	p.closed = true
	return nil
}

func (p *publisher) isClosed() bool {
	p.s.b.mu.Lock()
	defer p.s.b.mu.Unlock()
	return p.closed
}

func (p *publisher) Publish(m *conn.Message, confirmed func(ok bool)) error {
	if err := m.Validate(); err != nil {
		return err
	}
	p.s.c.awake()
	slow, err := p.publish(m, confirmed)
	if slow > 0 {
		time.Sleep(slow)
	}
	return err
}

// publish returns how long Publish is to take.
func (p *publisher) publish(m *conn.Message, confirmed func(ok bool)) (slow time.Duration, err error) {
	s := p.s
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.over || p.closed {
		return 0, s.closedErr("publish")
	}
	if s.blocked != nil {
		return 0, fmt.Errorf("publish: %w", conn.ErrBlocked)
	}
	faults := s.c.happens(publishing)
	var late strike
	if confirmed != nil {
		late = s.c.happens(confirming)
	}
	if faults.has(loseBefore) {
		s.end(errLost)
		return 0, nil
	}
	channel := 0
	if confirmed != nil {
		channel = 1
	}
	p.last[channel] = m
	sent := onWire(m)
	sent.Mandatory = m.Mandatory
	arrive := func() {
		if faults.has(refuse) {
			p.tell(verdict{}, confirmed, late)
			return
		}
		v, err := p.deliver(&sent)
		if err != nil {
			if last := p.last[channel]; last != nil {
				refused := *last
				refused.Body = nil
				p.refused = &refused
			}
			s.end(err) // Publish has returned by the time the broker says so
			return
		}
		p.tell(v, confirmed, late)
	}
	switch {
	case faults.has(latePublish) && s.late == nil:
		s.late = []func(){arrive}
		time.AfterFunc(faults.by, s.arrive)
	case s.late != nil:
		s.late = append(s.late, arrive)
	default:
		arrive()
	}
	switch {
	case faults.has(failPublish):
		s.flush()
		s.end(errLost)
		return 0, fmt.Errorf("publish: %w", errLost)
	case faults.has(loseAfter):
		s.flush()
		s.end(errLost)
	case faults.has(slowPublish):
		slow = faults.by
	}
	return slow, nil
}

// arrive is called when what was late has reached the broker.
func (s *session) arrive() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.flush()
}

func (s *session) flush() {
	late := s.late
	s.late = nil
	for _, arrive := range late {
		if !s.over { // the one before may have ended it
			arrive()
		}
	}
}

// tell passes on what the broker says of a message.
func (p *publisher) tell(v verdict, confirmed func(ok bool), faults strike) {
	s := p.s
	if s.over { // by a fault that strikes with it: the verdict never comes
		return
	}
	if v.returned != nil && p.onReturn != nil {
		s.events.put(func() {
			if s.c.awake(); !p.isClosed() {
				p.onReturn(v.returned)
			}
		})
	}
	if confirmed == nil || faults.has(dropConfirm) {
		return
	}
	s.events.put(func() {
		s.c.awake()
		if (!faults.has(lateConfirm) || s.wait(faults.by)) && !p.isClosed() {
			confirmed(v.ok)
		}
	})
}

// A verdict is what the broker says of a message.
type verdict struct {
	ok       bool
	returned *conn.Return
}

// deliver gives m to the queues that it is for. One that refuses it is enough for a verdict that is not ok. An error costs
// the session its life.
func (p *publisher) deliver(published *conn.Message) (v verdict, err error) {
	b := p.s.b
	m := message{Message: *published}
	m.Mandatory = false // a part of publishing, not of the message
	m.keys = append([]string{m.Key}, carbonCopies(&m.Message)...)
	queues, exists := b.route(m.Exchange, m.keys)
	if !exists {
		return v, noExchange(m.Exchange)
	}
	if m.UserID != "" && m.UserID != p.s.c.user {
		return v, &conn.Error{Code: 406, Reason: fmt.Sprintf("PRECONDITION_FAILED - user_id property set to '%s' but authenticated user was '%s'", m.UserID, p.s.c.user)}
	}
	if len(queues) == 0 && published.Mandatory {
		v.returned = &conn.Return{Message: m.Message, Code: 312, Reason: "NO_ROUTE"}
		v.returned.Mandatory = true
	}
	v.ok = true
	for _, q := range queues {
		v.ok = q.take(m) && v.ok
	}
	for _, q := range queues {
		q.trim()
		q.run()
	}
	return v, nil
}

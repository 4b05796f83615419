package conntest

import (
	"context"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A publisher is a [conn.Publisher].
type publisher struct {
	s        *session
	onReturn func(*conn.Return)
}

func (s *session) OpenPublisher(ctx context.Context, onReturn func(*conn.Return)) (conn.Publisher, error) {
	p := &publisher{s: s, onReturn: onReturn}
	if err := s.do(ctx, "open publisher", func() error { return nil }); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *publisher) Publish(m *conn.Message, confirmed func(ok bool)) error {
	if err := m.Validate(); err != nil {
		return err
	}
	s := p.s
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.over {
		return s.closedErr("publish")
	}
	if s.blocked != nil {
		return fmt.Errorf("publish: %w", conn.ErrBlocked)
	}
	faults := s.c.happens(publishing)
	if confirmed != nil {
		faults |= s.c.happens(confirming)
	}
	if faults.has(loseBefore) {
		s.end(errLost)
		return nil
	}
	var v verdict
	if !faults.has(refuse) {
		var err error
		if v, err = p.deliver(m); err != nil {
			s.end(err) // Publish has returned by the time the broker says so
			return nil
		}
	}
	switch {
	case faults.has(failPublish):
		s.end(errLost)
		return fmt.Errorf("publish: %w", errLost)
	case faults.has(loseAfter):
		s.end(errLost)
		return nil
	}
	if v.returned != nil && p.onReturn != nil {
		s.events.put(func() { p.onReturn(v.returned) })
	}
	if confirmed != nil && !faults.has(dropConfirm) {
		s.events.put(func() { confirmed(v.ok) })
	}
	return nil
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
	m := message{Message: onWire(published)}
	if m.UserID != "" && m.UserID != p.s.c.user {
		return v, &conn.Error{Code: 406, Reason: fmt.Sprintf("PRECONDITION_FAILED - user_id property set to '%s' but authenticated user was '%s'", m.UserID, p.s.c.user)}
	}
	m.keys = append([]string{m.Key}, carbonCopies(&m.Message)...)
	queues, exists := b.route(m.Exchange, m.keys)
	if !exists {
		return v, noExchange(m.Exchange)
	}
	if len(queues) == 0 && published.Mandatory {
		v.returned = &conn.Return{Message: m.Message, Code: 312, Reason: "NO_ROUTE"}
		v.returned.Mandatory = true
	}
	v.ok = true
	for _, q := range queues {
		v.ok = q.add(m) && v.ok
	}
	return v, nil
}

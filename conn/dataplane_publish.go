package conn

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// A dataPublisher is a [publisher] of the data plane: the same two channels.
type dataPublisher struct {
	s              *session
	plain, confirm *lane
	channels       []*amqp.Channel
	onReturn       func(*Return)
	confirms       confirms
	fence          fence

	lastPlain, lastConfirm, refused *Message // without their bodies; guarded by outbox.mu
}

func (s *session) openDataPublisher(ctx context.Context, onReturn func(*Return)) (Publisher, error) {
	p := &dataPublisher{s: s, onReturn: onReturn, confirms: newConfirms()}
	if err := s.call(ctx, "open publisher", p.open, p.close); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *dataPublisher) open() (err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	for _, l := range []**lane{&p.plain, &p.confirm} {
		ch, id, err := p.s.pub.channel()
		if err != nil {
			return err
		}
		c := &lane{id: id}
		c.over = func(err error) { p.over(c, err) }
		c.take = func(e frame.Event) { p.take(e, &c.inbox) }
		p.s.pub.line.lanes.add(c)
		p.channels = append(p.channels, ch)
		*l = c
	}
	p.fence.init(p.s, p.plain.id)
	return p.channels[1].Confirm(false)
}

func (p *dataPublisher) Close(ctx context.Context) error {
	p.s.pub.line.bar(p.plain)
	p.s.pub.line.bar(p.confirm)
	p.fence.stop()
	return closing(p.s.call(ctx, "close publisher", func() error { p.close(); return nil }, nil))
}

func (p *dataPublisher) close() {
	for _, ch := range p.channels {
		ch.Close()
	}
	for _, c := range []*lane{p.plain, p.confirm} {
		if c != nil {
			p.s.pub.line.lanes.remove(c)
		}
	}
}

func (p *dataPublisher) take(event frame.Event, in *frame.Inbox) {
	switch event {
	case frame.Return:
		r := &Return{Message: fromInbox(in), Code: int(in.Code), Reason: in.Reason}
		r.Mandatory = true
		p.onReturn(r)
	case frame.Ack, frame.Nack:
		p.confirms.settle(in.Tag, in.Multiple, event == frame.Ack)
	case frame.QosOK:
		p.fence.pass()
	}
}

func (p *dataPublisher) Publish(m *Message, confirmed func(ok bool)) error {
	if err := p.s.publishable(m); err != nil {
		return err
	}
	out := &p.s.pub.line.outbox
	switch err := out.lock(roomPatience); {
	case err == errFull:
		return fmt.Errorf("publish: %w", err)
	case err != nil:
		return p.s.closedErr("publish")
	}
	routed := m.ConfirmRouted && !m.Persistent
	c := p.plain
	if confirmed != nil && !routed {
		c = p.confirm
	}
	if c.closed {
		out.mu.Unlock()
		return p.s.closedErr("publish")
	}
	if c == p.plain {
		remember(&p.lastPlain, m)
	} else {
		remember(&p.lastConfirm, m)
	}
	publish := toFrame(m)
	out.queued = frame.AppendPublish(out.queued, c.id, &publish, p.s.pub.conn.Config.FrameSize)
	switch {
	case confirmed == nil:
	case routed:
		p.fence.add(confirmed, m.ConfirmLater)
	default:
		p.confirms.add(confirmed)
	}
	if err := out.flush(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// remember keeps a copy of m without its body, which may be large, and nothing of what m may be a part of.
func remember(last **Message, m *Message) {
	if *last == nil {
		*last = new(Message)
	}
	**last = *m
	(*last).Body = nil
}

// over ends the session with a channel.
func (p *dataPublisher) over(c *lane, err error) {
	out := &p.s.pub.line.outbox
	out.mu.Lock()
	if p.refused = p.lastPlain; c == p.confirm {
		p.refused = p.lastConfirm
	}
	out.mu.Unlock()
	p.s.die(err)
}

func (p *dataPublisher) Refused() *Message {
	out := &p.s.pub.line.outbox
	out.mu.Lock()
	defer out.mu.Unlock()
	return p.refused
}

func toFrame(m *Message) frame.Publish {
	p := frame.Publish{
		Exchange:  m.Exchange,
		Key:       m.Key,
		Mandatory: m.Mandatory,
		Properties: frame.Properties{
			Headers:         m.Headers,
			ContentType:     m.ContentType,
			ContentEncoding: m.ContentEncoding,
			DeliveryMode:    amqp.Transient,
			Priority:        m.Priority,
			CorrelationID:   m.CorrelationID,
			ReplyTo:         m.ReplyTo,
			Expiration:      m.Expiration,
			MessageID:       m.MessageID,
			Type:            m.Type,
			UserID:          m.UserID,
			AppID:           m.AppID,
		},
		Body: m.Body,
	}
	if m.Persistent {
		p.DeliveryMode = amqp.Persistent
	}
	if !m.Timestamp.IsZero() {
		p.Timestamp, p.HasTimestamp = m.Timestamp.Unix(), true
	}
	return p
}

func fromInbox(in *frame.Inbox) Message {
	m := Message{
		Exchange:        in.Exchange,
		Key:             in.Key,
		Persistent:      in.DeliveryMode == amqp.Persistent,
		ContentType:     in.ContentType,
		ContentEncoding: in.ContentEncoding,
		CorrelationID:   in.CorrelationID,
		ReplyTo:         in.ReplyTo,
		MessageID:       in.MessageID,
		Type:            in.Type,
		UserID:          in.UserID,
		AppID:           in.AppID,
		Expiration:      in.Expiration,
		Priority:        in.Priority,
		Headers:         in.Headers,
		Body:            in.Body,
	}
	if in.HasTimestamp {
		m.Timestamp = time.Unix(in.Timestamp, 0)
	}
	return m
}

package conn

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A publisher has one channel with confirms and one without, and nothing but publishes is ever sent on either: a
// synchronous method beside a publish breaks the order of frames, which costs the connection.
type publisher struct {
	s        *session
	plain    *amqp.Channel
	confirm  *amqp.Channel
	onReturn func(*Return)

	mu      sync.Mutex // guards what follows
	out     [2]busy    // on plain, confirm
	refused *Message
	waiting map[uint64]func(ok bool)
	early   map[uint64]bool // verdicts that came before Publish had its turn again
}

func (s *session) OpenPublisher(ctx context.Context, onReturn func(*Return)) (Publisher, error) {
	if onReturn == nil {
		onReturn = func(*Return) {}
	}
	if s.pub.line != nil {
		return s.openDataPublisher(ctx, onReturn)
	}
	p := &publisher{s: s, onReturn: onReturn, waiting: make(map[uint64]func(bool)), early: make(map[uint64]bool)}
	err := s.call(ctx, "open publisher", p.open, p.close)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *publisher) open() (err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.plain, _, err = p.s.pub.channel(); err != nil {
		return err
	}
	if p.confirm, _, err = p.s.pub.channel(); err != nil {
		return err
	}
	if err = p.confirm.Confirm(false); err != nil {
		return err
	}
	for i, ch := range []*amqp.Channel{p.plain, p.confirm} {
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		returns := ch.NotifyReturn(make(chan amqp.Return, 64))
		var confirms chan amqp.Confirmation
		if ch == p.confirm {
			confirms = ch.NotifyPublish(make(chan amqp.Confirmation, 64))
		}
		p.s.start(func() {
			p.listen(returns, confirms)
			if err, ok := <-closed; ok {
				p.over(i, err)
			}
		})
	}
	return nil
}

// A busy channel knows its last message, if that is known: of two at the same time the library says nothing.
type busy struct {
	now  int
	last *Message
}

// over ends the session with a channel. What ends the connection ends each channel, and says nothing of a message.
func (p *publisher) over(channel int, err *amqp.Error) {
	if err.Server && err.Recover {
		p.mu.Lock()
		if last := p.out[channel].last; last != nil {
			remember(&p.refused, last) // a copy: the channel may be tried again
		}
		p.mu.Unlock()
	}
	p.s.die(ending(err))
}

func (p *publisher) Refused() *Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// begin takes note that m is published.
func (p *publisher) begin(channel int, m *Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.out[channel]
	b.now++
	if remember(&b.last, m); b.now > 1 {
		b.last = nil
	}
}

func (p *publisher) end(channel int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out[channel].now--
}

func (p *publisher) Close(ctx context.Context) error {
	return closing(p.s.call(ctx, "close publisher", func() error { p.close(); return nil }, nil))
}

// closing makes nothing of a session that is over.
func closing(err error) error {
	if errors.Is(err, ErrClosed) {
		return nil
	}
	return err
}

func (p *publisher) close() {
	for _, ch := range []*amqp.Channel{p.plain, p.confirm} {
		if ch != nil {
			ch.Close()
		}
	}
}

// listen drains the notifications of one channel until it closes. The broker returns a message before it confirms it,
// but the library hands the two over separately: all returns that are there go first.
func (p *publisher) listen(returns <-chan amqp.Return, confirms <-chan amqp.Confirmation) {
	for returns != nil || confirms != nil {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			p.onReturn(fromReturn(&r))
		case c, ok := <-confirms:
			if !ok {
				confirms = nil
				continue
			}
			p.drain(returns)
			p.confirmed(c)
		}
	}
}

func (p *publisher) drain(returns <-chan amqp.Return) {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				return
			}
			p.onReturn(fromReturn(&r))
		default:
			return
		}
	}
}

func (p *publisher) confirmed(c amqp.Confirmation) {
	p.mu.Lock()
	call := p.waiting[c.DeliveryTag]
	if call == nil {
		p.early[c.DeliveryTag] = c.Ack
	}
	delete(p.waiting, c.DeliveryTag)
	p.mu.Unlock()
	if call != nil {
		call(c.Ack)
	}
}

// await registers who waits for the confirmation of tag.
func (p *publisher) await(tag uint64, confirmed func(ok bool)) {
	p.mu.Lock()
	ok, early := p.early[tag]
	if early {
		delete(p.early, tag)
	} else {
		p.waiting[tag] = confirmed
	}
	p.mu.Unlock()
	if early { // not here: the caller may hold a lock around Publish
		p.s.start(func() { confirmed(ok) })
	}
}

// publishable reports why m cannot be published now, or never.
func (s *session) publishable(m *Message) error {
	size, err := m.check()
	if err != nil {
		return err
	}
	if limit := s.pub.conn.Config.FrameSize - 512; limit > 0 && size > limit {
		return fmt.Errorf("%w: properties and headers have %d bytes, the broker's frames hold %d", ErrInvalid, size, limit)
	}
	if b := s.block.Load(); b != nil {
		return fmt.Errorf("publish: %w: %s", ErrBlocked, b.reason)
	}
	if s.Err() != nil {
		return s.closedErr("publish")
	}
	return nil
}

func (p *publisher) Publish(m *Message, confirmed func(ok bool)) error {
	if err := p.s.publishable(m); err != nil {
		return err
	}
	ch, channel := p.plain, 0
	if confirmed != nil {
		ch, channel = p.confirm, 1
	}
	p.begin(channel, m)
	defer p.end(channel)
	pending, err := ch.PublishWithDeferredConfirm(m.Exchange, m.Key, m.Mandatory, false, toPublishing(m))
	switch {
	case errors.Is(err, amqp.ErrClosed):
		return p.s.closedErr("publish")
	case err != nil:
		err = fmt.Errorf("publish: %w", fromLibrary(err))
		p.s.die(err)
		return err
	}
	if confirmed != nil {
		p.await(pending.DeliveryTag, confirmed)
	}
	return nil
}

func toPublishing(m *Message) amqp.Publishing {
	p := amqp.Publishing{
		Headers:         amqp.Table(m.Headers),
		ContentType:     m.ContentType,
		ContentEncoding: m.ContentEncoding,
		DeliveryMode:    amqp.Transient,
		Priority:        m.Priority,
		CorrelationId:   m.CorrelationID,
		ReplyTo:         m.ReplyTo,
		Expiration:      m.Expiration,
		MessageId:       m.MessageID,
		Timestamp:       m.Timestamp,
		Type:            m.Type,
		UserId:          m.UserID,
		AppId:           m.AppID,
		Body:            m.Body,
	}
	if m.Persistent {
		p.DeliveryMode = amqp.Persistent
	}
	return p
}

func fromReturn(r *amqp.Return) *Return {
	return &Return{Code: int(r.ReplyCode), Reason: r.ReplyText, Message: Message{
		Exchange:        r.Exchange,
		Key:             r.RoutingKey,
		Mandatory:       true,
		Persistent:      r.DeliveryMode == amqp.Persistent,
		ContentType:     r.ContentType,
		ContentEncoding: r.ContentEncoding,
		CorrelationID:   r.CorrelationId,
		ReplyTo:         r.ReplyTo,
		MessageID:       r.MessageId,
		Type:            r.Type,
		UserID:          r.UserId,
		AppID:           r.AppId,
		Expiration:      r.Expiration,
		Priority:        r.Priority,
		Timestamp:       r.Timestamp,
		Headers:         headers(r.Headers),
		Body:            r.Body,
	}}
}

package conn

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A consumer has a channel of its own: its prefetch and its acknowledgements meet nobody else's.
type consumer struct {
	s         *session
	ch        *amqp.Channel
	users     atomic.Int64 // of the channel: run, and each delivery that is not settled
	cancelled atomic.Bool
	ended     chan struct{}
}

const consumerTag = "rabbitrpc" // tags are per channel

func (s *session) Consume(ctx context.Context, c Consume, handle func(*Delivery)) (Consumer, error) {
	if err := checkNames(c.Queue); err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	if !c.NoAck && (c.Prefetch < 1 || c.Prefetch > 65535) {
		return nil, fmt.Errorf("consume %s: prefetch must be 1 to 65535, got %d", c.Queue, c.Prefetch)
	}
	if s.sub.line != nil {
		return s.consumeData(ctx, c, handle)
	}
	k := &consumer{s: s, ended: make(chan struct{})}
	k.users.Store(1)
	err := s.call(ctx, "consume "+c.Queue, func() error { return k.open(c, handle) }, func() {
		k.cancelled.Store(true)
		k.ch.Close()
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (k *consumer) open(c Consume, handle func(*Delivery)) (err error) {
	if k.ch, _, err = k.s.sub.channel(); err != nil {
		return err
	}
	closed := k.ch.NotifyClose(make(chan *amqp.Error, 1))
	if !c.NoAck {
		if err = k.ch.Qos(c.Prefetch, 0, false); err != nil {
			return err
		}
	}
	deliveries, err := k.ch.Consume(c.Queue, consumerTag, c.NoAck, c.Exclusive, false, false, nil)
	if err != nil {
		return err
	}
	k.s.start(func() { k.run(c, deliveries, closed, handle) })
	return nil
}

// run hands over the deliveries until there will be no more. If nobody here has asked for that end, the broker has:
// it deleted the queue or lost its leader, with connection and channel left open.
func (k *consumer) run(c Consume, deliveries <-chan amqp.Delivery, closed <-chan *amqp.Error, handle func(*Delivery)) {
	defer close(k.ended)
	settle := k.settle
	if c.NoAck {
		settle = nil
	}
	for d := range deliveries {
		if !c.NoAck {
			k.users.Add(1)
		}
		handle(k.fromLibrary(&d, settle))
	}
	if k.cancelled.Load() {
		k.release()
		return
	}
	select {
	case err, ok := <-closed:
		if ok {
			k.s.die(ending(err))
			return
		}
	default:
	}
	k.s.die(fmt.Errorf("consumer of %s: %w", c.Queue, ErrCancelled))
}

func (k *consumer) Cancel(ctx context.Context) error {
	if k.cancelled.Swap(true) {
		return nil
	}
	if err := k.s.call(ctx, "cancel consumer", func() error { return k.ch.Cancel(consumerTag, false) }, nil); err != nil {
		return err
	}
	select {
	case <-k.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cancel consumer: %w", ctx.Err())
	}
}

// release closes the channel after its last user, or a session that sees many consumers come and go would run out of
// channels.
func (k *consumer) release() {
	if k.users.Add(-1) == 0 {
		k.s.start(func() { k.s.call(context.Background(), "close channel", k.ch.Close, nil) })
	}
}

func (k *consumer) settle(tag uint64, ack, requeue bool) (err error) {
	if k.s.Err() != nil {
		return k.s.closedErr("settle")
	}
	if ack {
		err = k.ch.Ack(tag, false)
	} else {
		err = k.ch.Nack(tag, false, requeue)
	}
	switch {
	case err == nil:
		k.release()
		return nil
	case errors.Is(err, amqp.ErrClosed):
		return k.s.closedErr("settle")
	default:
		err = fmt.Errorf("settle: %w", fromLibrary(err))
		k.s.die(err)
		return err
	}
}

func (k *consumer) fromLibrary(d *amqp.Delivery, settle func(tag uint64, ack, requeue bool) error) *Delivery {
	m := Message{
		Exchange:        d.Exchange,
		Key:             d.RoutingKey,
		Persistent:      d.DeliveryMode == amqp.Persistent,
		ContentType:     d.ContentType,
		ContentEncoding: d.ContentEncoding,
		CorrelationID:   d.CorrelationId,
		ReplyTo:         d.ReplyTo,
		MessageID:       d.MessageId,
		Type:            d.Type,
		UserID:          d.UserId,
		AppID:           d.AppId,
		Expiration:      d.Expiration,
		Priority:        d.Priority,
		Timestamp:       d.Timestamp,
		Headers:         headers(d.Headers),
		Body:            d.Body,
	}
	if settle == nil {
		return NewDelivery(m, d.Redelivered, nil)
	}
	tag := d.DeliveryTag
	return NewDelivery(m, d.Redelivered, func(ack, requeue bool) error { return settle(tag, ack, requeue) })
}

// headers hides the library's type for tables inside of tables, such as those of x-death.
func headers(t amqp.Table) map[string]any {
	for name, value := range t {
		switch value.(type) {
		case amqp.Table, []any:
			t[name] = plain(value)
		}
	}
	return t
}

func plain(value any) any {
	switch v := value.(type) {
	case amqp.Table:
		return map[string]any(headers(v))
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return value
}

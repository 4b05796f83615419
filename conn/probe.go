package conn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A Probe asks a broker what its user may do, and changes nothing by that: each question is a method that RabbitMQ checks the
// rights for, and then refuses for another reason. What another product does with them is not known.
//
// A question has the answer nil, or [ErrRefused], with the broker's words for the right that is missing. Any other error means
// that there is none. A Probe is for one goroutine, and over once a question has outlasted its context.
type Probe struct {
	Broker  Broker
	link    *link
	blocked <-chan amqp.Blocking
}

// Close ends the connection, at once if the broker does not answer within a second.
func (p *Probe) Close() error { return p.link.close(time.Now().Add(time.Second)) }

// ask runs f with a channel of its own: the broker closes it with each refusal.
func (p *Probe) ask(ctx context.Context, f func(ch *amqp.Channel) error) error {
	result := make(chan error, 1)
	go func() {
		ch, err := p.link.conn.Channel()
		if err == nil {
			err = f(ch)
			ch.Close()
		}
		result <- err
	}()
	select {
	case err := <-result:
		return fromLibrary(err)
	case <-ctx.Done():
		p.link.sock.Conn.Close()
		<-result
		return fmt.Errorf("ask the broker: %w", ctx.Err())
	}
}

// errAnswered is for a broker that does what RabbitMQ would refuse.
var errAnswered = errors.New("the broker has accepted what it should not")

// permitted makes of the answer to what cannot be done an answer to whether it may be done.
func permitted(err error) error {
	switch {
	case errors.Is(err, ErrPrecondition), errors.Is(err, ErrNotFound):
		return nil
	case err == nil:
		return errAnswered
	}
	return err
}

// MayConfigureQueue asks for the right to configure a queue, which need not exist.
func (p *Probe) MayConfigureQueue(ctx context.Context, name string) error {
	return permitted(p.ask(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-message-ttl": int64(-1)})
		return err
	}))
}

// MayConfigureExchange asks for the right to configure an exchange, which need not exist.
func (p *Probe) MayConfigureExchange(ctx context.Context, name string) error {
	return permitted(p.ask(ctx, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(name, "topic", true, false, false, false, amqp.Table{"alternate-exchange": int64(0)})
	}))
}

// MayConsume asks for the right to read a queue, which need not exist.
func (p *Probe) MayConsume(ctx context.Context, queue string) error {
	return permitted(p.ask(ctx, func(ch *amqp.Channel) error {
		_, err := ch.Consume(queue, "", false, false, false, false, amqp.Table{"x-priority": "none"})
		return err
	}))
}

// MayBind asks for the rights to bind a queue to an exchange with a key: to write the one, and read the other.
func (p *Probe) MayBind(ctx context.Context, queue, exchange, key string) error {
	err := p.ask(ctx, func(ch *amqp.Channel) error {
		return ch.QueueUnbind(queue, key, exchange, amqp.Table{"x-rabbitrpc": "nobody binds with this"})
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// MayPublish asks for the rights to write an exchange, and with a key if it is a topic exchange. ErrNotFound: it may be
// written, but is not there.
func (p *Probe) MayPublish(ctx context.Context, exchange, key string) error {
	err := p.ask(ctx, func(ch *amqp.Channel) error { return unpublishable(ch, exchange, key) })
	if errors.Is(err, ErrNotFound) {
		return err
	}
	return permitted(err)
}

// unpublishable publishes what no broker takes, and returns how it was refused.
func unpublishable(ch *amqp.Channel, exchange, key string) error {
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Publish(exchange, key, false, false, amqp.Publishing{Expiration: "never"}); err != nil {
		return err
	}
	if err := ch.Qos(1, 0, false); err == nil { // an answer to this comes after the refusal
		return nil
	}
	return <-closed
}

// HasExchange asks whether there is an exchange of that name: ErrNotFound if not.
func (p *Probe) HasExchange(ctx context.Context, name string) error {
	return p.ask(ctx, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(name, "topic", true, false, false, false, nil)
	})
}

// Blocked asks whether the broker takes no messages for now, and returns why; "" if it takes some. RabbitMQ says so to who
// publishes only. After a reason the probe is over.
func (p *Probe) Blocked(ctx context.Context) (reason string, err error) {
	answered := make(chan error, 1)
	go func() {
		err := p.ask(ctx, func(ch *amqp.Channel) error { return unpublishable(ch, "", "nobody") })
		if permitted(err) == nil || errors.Is(err, ErrRefused) {
			err = p.ask(ctx, func(*amqp.Channel) error { return nil }) // the refusal may overtake the alarm, this does not
		}
		answered <- err
	}()
	select {
	case b, ok := <-p.blocked:
		p.link.sock.Conn.Close() // or the question waits for the end of the alarm
		if err = <-answered; ok {
			return b.Reason, nil
		}
	case err = <-answered:
	}
	return "", err
}

// RoundTrip measures the shortest of five exchanges with the broker.
func (p *Probe) RoundTrip(ctx context.Context) (time.Duration, error) {
	var took []time.Duration
	err := p.ask(ctx, func(ch *amqp.Channel) error {
		for range 5 {
			start := time.Now()
			if err := ch.Qos(1, 0, false); err != nil {
				return err
			}
			took = append(took, time.Since(start))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return slices.Min(took), nil
}

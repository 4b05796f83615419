package rawloop

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A link is what both sides have of the broker.
type link struct {
	safe                bool
	consuming, emitting *amqp.Connection
	in, out             *amqp.Channel
}

// dial opens a connection to consume and one to publish.
func dial(url string, safe bool) (*link, error) {
	l := &link{safe: safe}
	var err error
	if l.consuming, l.in, err = open(url); err != nil {
		return nil, err
	}
	if l.emitting, l.out, err = open(url); err != nil {
		l.Close()
		return nil, err
	}
	if safe {
		if err := l.out.Confirm(false); err != nil {
			l.Close()
			return nil, fmt.Errorf("ask for confirmations: %w", err)
		}
	}
	return l, nil
}

func open(url string) (*amqp.Connection, *amqp.Channel, error) {
	c, err := amqp.Dial(url)
	if err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err)
	}
	ch, err := c.Channel()
	if err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("open channel: %w", err)
	}
	return c, ch, nil
}

// publish publishes to a queue. Only a safe link returns a confirmation.
func (l *link) publish(ctx context.Context, queue string, m amqp.Publishing) (*amqp.DeferredConfirmation, error) {
	if !l.safe {
		return nil, l.out.PublishWithContext(ctx, "", queue, false, false, m)
	}
	m.DeliveryMode = amqp.Persistent
	return l.out.PublishWithDeferredConfirmWithContext(ctx, "", queue, false, false, m)
}

// confirmed waits for a confirmation, if there is to be one.
func confirmed(ctx context.Context, c *amqp.DeferredConfirmation) error {
	if c == nil {
		return nil
	}
	ok, err := c.WaitContext(ctx)
	if err == nil && !ok {
		err = errors.New("the broker did not confirm a message")
	}
	return err
}

// Close ends the connections.
func (l *link) Close() {
	for _, c := range []*amqp.Connection{l.consuming, l.emitting} {
		if c != nil {
			c.Close() // it is of no use any more, whatever went wrong
		}
	}
}

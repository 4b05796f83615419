package conn

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// control is the channel for declaring and inspecting. A channel takes one synchronous method at a time, and the broker
// closes it with each refusal: it is opened anew for the next. It is on the consuming connection: the broker does not
// answer a synchronous method on a blocked one, and an exclusive queue belongs to the connection that consumes it.
type control struct {
	turn chan struct{} // holds one token; who has it owns ch
	ch   *amqp.Channel
}

func newControl() control {
	c := control{turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// do runs f, which does what op says to the thing of the first name, with the control channel.
func (s *session) do(ctx context.Context, op string, names []string, f func(ch *amqp.Channel) error) error {
	return s.doOr(ctx, op, names, f, nil)
}

// doOr is do with what undoes f, in case that it succeeds when ctx has ended.
func (s *session) doOr(ctx context.Context, op string, names []string, f func(ch *amqp.Channel) error, undo func()) error {
	if err := checkNames(names...); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	op = strings.TrimSuffix(op+" "+names[0], " ") // the broker names some queues
	select {
	case <-s.control.turn:
	case <-s.done:
		return s.closedErr(op)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", op, ctx.Err())
	}
	return s.call(ctx, op, func() (err error) {
		defer func() { s.control.turn <- struct{}{} }()
		c := &s.control
		if c.ch == nil || c.ch.IsClosed() {
			if c.ch, _, err = s.sub.channel(); err != nil {
				return err
			}
		}
		return f(c.ch)
	}, undo)
}

// checkNames refuses names that the library could not write: it would end the connection.
func checkNames(names ...string) error {
	for _, name := range names {
		if len(name) > maxShortString {
			return fmt.Errorf("a name has %d bytes, at most %d are allowed", len(name), maxShortString)
		}
	}
	return nil
}

func (s *session) DeclareExchange(ctx context.Context, e Exchange) error {
	return s.do(ctx, "declare exchange", []string{e.Name, e.Kind}, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(e.Name, e.Kind, e.Durable, false, false, false, nil)
	})
}

func (s *session) DeclareQueue(ctx context.Context, q Queue) (info QueueInfo, err error) {
	got := make(chan amqp.Queue, 1)
	var undo func()
	if q.Name == "" { // or nobody would know its name
		undo = func() { s.DeleteQueue(context.Background(), (<-got).Name) }
	}
	err = s.doOr(ctx, "declare queue", []string{q.Name}, func(ch *amqp.Channel) error {
		r, err := ch.QueueDeclare(q.Name, q.Durable, q.AutoDelete, q.Exclusive, false, amqp.Table(q.Args))
		got <- r
		return err
	}, undo)
	return queueInfo(got, err)
}

func (s *session) InspectQueue(ctx context.Context, name string) (QueueInfo, error) {
	got := make(chan amqp.Queue, 1)
	err := s.do(ctx, "inspect queue", []string{name}, func(ch *amqp.Channel) error {
		r, err := ch.QueueDeclarePassive(name, false, false, false, false, nil)
		got <- r
		return err
	})
	return queueInfo(got, err)
}

func queueInfo(got <-chan amqp.Queue, err error) (QueueInfo, error) {
	if err != nil {
		return QueueInfo{}, err
	}
	r := <-got
	return QueueInfo{Name: r.Name, Messages: r.Messages, Consumers: r.Consumers}, nil
}

func (s *session) BindQueue(ctx context.Context, queue, exchange, key string) error {
	return s.do(ctx, "bind queue", []string{queue, exchange, key}, func(ch *amqp.Channel) error {
		return ch.QueueBind(queue, key, exchange, false, nil)
	})
}

func (s *session) DeleteExchange(ctx context.Context, name string) error {
	err := s.do(ctx, "delete exchange", []string{name}, func(ch *amqp.Channel) error { return ch.ExchangeDelete(name, false, false) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (s *session) DeleteQueue(ctx context.Context, name string) error {
	err := s.do(ctx, "delete queue", []string{name}, func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(name, false, false, false)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const answersAhead = 100 // that are here and not read yet

// An ear is what a discovery has in one session.
type ear struct {
	session   conn.Session
	publisher conn.Publisher
	replyTo   string

	mu    sync.Mutex // guards asked
	asked map[string]chan heard
}

// heard is what came in for a question: an instance, or the question itself, which nobody has taken.
type heard struct {
	instance *rpc.Instance
	at       time.Time
}

func (e *ear) open(ctx context.Context) error {
	err := e.session.DeclareExchange(ctx, wire.QuestionExchange)
	if err != nil && !errors.Is(err, conn.ErrRefused) && !errors.Is(err, conn.ErrPrecondition) {
		return err
	}
	q, err := e.session.DeclareQueue(ctx, conn.Queue{Exclusive: true, AutoDelete: true})
	if err != nil {
		return err
	}
	e.replyTo = q.Name
	onReturn := func(r *conn.Return) { e.hear(r.CorrelationID, nil) }
	if e.publisher, err = e.session.OpenPublisher(ctx, onReturn); err != nil {
		return err
	}
	// Anybody can write here: what comes faster than it is read stays with the broker.
	_, err = e.session.Consume(ctx, conn.Consume{Queue: q.Name, Prefetch: answersAhead, Exclusive: true, MaxBody: wire.MaxAnswer}, func(d *conn.Delivery) {
		if i, err := wire.DecodeAnswer(&d.Message); err == nil {
			e.hear(d.CorrelationID, i)
		}
		d.Ack()
	})
	return err
}

func (e *ear) add(id string) <-chan heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked[id] = make(chan heard, 1024)
	return e.asked[id]
}

func (e *ear) remove(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.asked, id)
}

// hear hands over what came in. Whoever asks and does not look does not get all, and holds up nobody.
func (e *ear) hear(id string, i *rpc.Instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case e.asked[id] <- heard{i, time.Now()}: // nobody's is nil, and never ready
	default:
	}
}

// silent is the end of a question that so many have answered, and nobody any more: nil, unless the broker still keeps it.
func (e *ear) silent(answers int) error {
	if answers == 0 && e.session.Blocked() != nil {
		return fmt.Errorf("ask instances: %w", conn.ErrBlocked)
	}
	return nil
}

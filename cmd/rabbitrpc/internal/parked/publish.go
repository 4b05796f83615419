package parked

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// ErrInDoubt means that the broker may have a request twice: where it was to go, and parked.
var ErrInDoubt = errors.New("the broker has not confirmed it")

var errRefused = errors.New("the broker refuses it: is the queue full?")

// wornAfter is how often a quorum queue may have delivered a message before it is written anew. From RabbitMQ 4.0 such a
// queue drops what was given back twenty times, unless it was told not to, which earlier ones refuse to be told.
const wornAfter = 10

// An outlet publishes one message after the other.
type outlet struct {
	publisher conn.Publisher // nil until the first
	returned  atomic.Bool
	requeued  map[string]bool // the new IDs of calls
}

// put publishes a message and waits until the broker has it in a queue. After any error but ErrInDoubt it has not.
func (q *Queue) put(ctx context.Context, m *conn.Message) error {
	o := &q.outlet
	if o.publisher == nil {
		p, err := q.session.OpenPublisher(ctx, func(*conn.Return) { o.returned.Store(true) })
		if err != nil {
			return q.failed(err)
		}
		o.publisher = p
	}
	confirms := make(chan bool, 1)
	if err := o.publisher.Publish(m, func(ok bool) { confirms <- ok }); conn.NotSent(err) {
		return q.failed(err)
	} else if err != nil {
		return q.failed(fmt.Errorf("%w: %w", ErrInDoubt, err))
	}
	select {
	case ok := <-confirms:
		switch {
		case o.returned.Swap(false):
			return fmt.Errorf("%w takes it", client.ErrNoServer)
		case !ok:
			return errRefused
		}
		return nil
	case <-q.session.Done():
		return q.lost()
	case <-ctx.Done():
		if q.session.Blocked() != nil { // it says so after a publish, which it may have read or not
			return fmt.Errorf("%w: %w", ErrInDoubt, conn.ErrBlocked)
		}
		return fmt.Errorf("%w: %w", ErrInDoubt, ctx.Err())
	}
}

// lost is what the end of the session says of a message that was published.
func (q *Queue) lost() error {
	err := q.session.Err()
	switch {
	case errors.Is(err, conn.ErrRefused):
		return err
	case errors.Is(err, conn.ErrNotFound): // the exchange, which servers declare
		return fmt.Errorf("%w takes it: %w", client.ErrNoServer, err)
	}
	return q.failed(fmt.Errorf("%w: %w", ErrInDoubt, err))
}

// Requeue sends a request to its service again, and removes it from the queue once the broker has it there. It returns the
// new call ID. A call that was parked twice is sent once. With [client.ErrNoServer] nobody serves the service, and it stays
// parked.
func (q *Queue) Requeue(ctx context.Context, r *Request) (id string, err error) {
	m, err := wire.EncodeUnparked(&r.Message, q.service)
	if err != nil {
		return "", err
	}
	if !q.outlet.requeued[m.CorrelationID] {
		if err := q.put(ctx, m); err != nil {
			return "", denied(err, "write "+wire.Exchange(q.service))
		}
		q.outlet.requeued[m.CorrelationID] = true
	}
	if err := q.settle(r.delivery); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	return m.CorrelationID, nil
}

// renew writes anew what was read so often that the broker may drop it soon, at the end of the queue and in its order.
func (q *Queue) renew(ctx context.Context) error {
	for _, h := range append([]held(nil), q.held...) {
		if h.worn == nil {
			continue
		}
		if err := q.put(ctx, wire.Reparked(h.worn, q.service)); err != nil {
			return denied(err, "write amq.default")
		}
		if err := q.settle(h.delivery); err != nil {
			return err
		}
	}
	return nil
}

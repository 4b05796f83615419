// Package parked reads and empties the parked queue of a service: the requests that its servers will not run again.
//
// A request is held, and goes back to its place, until it is dropped, or until the broker has confirmed what takes its
// place. Whatever dies in between, it is lost never, and at worst there twice; the second is the same call for servers that
// remember calls.
//
// # Concurrency
//
// A [Queue] is for one goroutine.
package parked

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// MaxHeld is the most that a [Queue] can hold. A server parks up to 10000.
const MaxHeld = 65535

const (
	quiet    = 5 * time.Second // that the broker may take to hand over the next request
	settling = time.Second     // that it may take to have back what somebody else was reading
)

// ErrBusy means that somebody else reads the queue.
var ErrBusy = errors.New("somebody else reads the parked queue")

// A DeniedError is a refusal of the broker: the user needs a right.
type DeniedError struct {
	Need string // the right, and what for
	Err  error
}

func (e *DeniedError) Error() string { return e.Err.Error() }
func (e *DeniedError) Unwrap() error { return e.Err }

// denied adds to a refusal what would be needed.
func denied(err error, need string) error {
	if errors.Is(err, conn.ErrRefused) {
		return &DeniedError{Need: need, Err: err}
	}
	return err
}

// A Queue is the parked queue of a service, while this program alone reads it.
type Queue struct {
	session    conn.Session
	service    string
	size       int
	window     int
	consumer   conn.Consumer // nil if there is nothing to read
	deliveries chan *conn.Delivery
	held       []held // the oldest first
	settled    bool   // at least one was
	outlet     outlet
}

// A Request is a parked request that is held.
type Request struct {
	conn.Message
	wire.Parking // zero for what no server has parked
	delivery     *conn.Delivery
}

// held is what the queue keeps of a request: not its body, since memory may have no room for all.
type held struct {
	delivery *conn.Delivery
	worn     *conn.Message // the request, if it is to be written anew
}

// Open begins to read what is parked now, of which it holds up to window at a time. There may be no such queue: nothing is
// parked then. A quorum queue keeps its order only if all that is in it was held: give it back from a window of [MaxHeld],
// after the last of [Queue.Requests].
func Open(ctx context.Context, c conn.Connector, service string, window int) (*Queue, error) {
	session, err := c.Dial(ctx) // of its own, to be closed
	if err != nil {
		return nil, err
	}
	q := &Queue{session: session, service: service, outlet: outlet{requeued: make(map[string]bool)}}
	if err := q.begin(ctx, wire.ParkedQueue(service), window); err != nil {
		session.Close(ctx)
		return nil, err
	}
	return q, nil
}

func (q *Queue) begin(ctx context.Context, name string, window int) error {
	info, err := idle(ctx, q.session, name)
	switch {
	case errors.Is(err, conn.ErrNotFound):
		return nil
	case err != nil:
		return denied(q.failed(err), fmt.Sprintf("configure %s (RabbitMQ asks for that since 4.3)", name))
	case info.Messages == 0:
		return nil
	}
	q.size = info.Messages
	q.window = min(window, q.size, MaxHeld)
	q.deliveries = make(chan *conn.Delivery, q.window)
	q.consumer, err = q.session.Consume(ctx, conn.Consume{Queue: name, Prefetch: q.window, Exclusive: true}, func(d *conn.Delivery) {
		q.deliveries <- d // there is room for all that are not settled
	})
	if errors.Is(err, conn.ErrRefused) && strings.Contains(err.Error(), "in exclusive use") {
		return ErrBusy
	}
	return denied(q.failed(err), "read "+name)
}

// idle waits until nobody reads a queue. A quorum queue needs a moment to have all back from whoever has just ended.
func idle(ctx context.Context, session conn.Session, name string) (conn.QueueInfo, error) {
	for start := time.Now(); ; {
		info, err := session.InspectQueue(ctx, name)
		switch {
		case err != nil || info.Consumers == 0:
			return info, err
		case time.Since(start) >= settling:
			return info, ErrBusy
		}
		select {
		case <-time.After(settling / 20):
		case <-ctx.Done():
			return info, ctx.Err()
		}
	}
}

// Len is how many requests were parked when the queue was opened.
func (q *Queue) Len() int { return q.size }

// Requests reads what was parked when the queue was opened, the oldest first, as long as there is room in the window: each
// is held until it is dropped or requeued. An error is the last.
func (q *Queue) Requests(ctx context.Context) iter.Seq2[*Request, error] {
	return func(yield func(*Request, error) bool) {
		for n := 0; n < q.size && len(q.held) < q.window; n++ {
			r, err := q.next(ctx)
			if r == nil && err == nil || !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// next takes the next request, or nil if there is none: some have expired, or were dropped as the queue was full.
func (q *Queue) next(ctx context.Context) (*Request, error) {
	late := time.NewTimer(quiet)
	defer late.Stop()
	select {
	case d := <-q.deliveries:
		return q.hold(d), nil
	case <-q.session.Done():
		return nil, q.failed(q.session.Err())
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
	}
	info, err := q.session.InspectQueue(ctx, wire.ParkedQueue(q.service))
	if err == nil && info.Messages > 0 {
		err = fmt.Errorf("the broker hands over no parked request, though it has %d", info.Messages)
	}
	return nil, err
}

func (q *Queue) hold(d *conn.Delivery) *Request {
	r := &Request{Message: d.Message, delivery: d}
	r.Parking, _ = wire.DecodeParked(&r.Message)
	h := held{delivery: d}
	if wire.DeliveryCount(&d.Message) >= wornAfter {
		h.worn = &r.Message
	}
	q.held = append(q.held, h)
	d.Message = conn.Message{}
	return r
}

// settle acknowledges a request: it is gone from the queue once Close has returned without an error.
func (q *Queue) settle(d *conn.Delivery) error {
	q.held = slices.DeleteFunc(q.held, func(h held) bool { return h.delivery == d })
	q.settled = true
	return q.failed(d.Ack())
}

// Drop removes a request from the queue, for good.
func (q *Queue) Drop(r *Request) error { return q.settle(r.delivery) }

// Close gives back what is held, all at once: a quorum queue would mix up what it gets back one by one. An error means
// that what was dropped or requeued may be parked still.
func (q *Queue) Close(ctx context.Context) error {
	defer q.session.Close(ctx)
	if q.consumer == nil {
		return nil
	}
	// The broker answers this after all acknowledgements, and hands out nothing afterwards that is written anew.
	if err := q.consumer.Cancel(ctx); err != nil && q.settled {
		return fmt.Errorf("%w: %w", ErrInDoubt, q.failed(err))
	} else if err != nil {
		return nil // the session is over, and the broker has all back
	}
	for len(q.deliveries) > 0 {
		q.hold(<-q.deliveries)
	}
	return q.renew(ctx)
}

// failed says of an error that the session is over, if it is.
func (q *Queue) failed(err error) error {
	if err != nil && q.session.Err() != nil && !errors.Is(err, conn.ErrNotConnected) {
		return fmt.Errorf("%w: %w", conn.ErrNotConnected, err)
	}
	return err
}

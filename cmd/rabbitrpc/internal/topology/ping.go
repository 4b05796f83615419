package topology

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// An Outcome is what became of a ping.
type Outcome int

// The outcomes of a ping.
const (
	Answered   Outcome = iota + 1 // by a server
	Bounced                       // no server, or none with room for it
	Unroutable                    // the service's queue is not bound, or not there
	Silent                        // no server that lives, and a queue that gives nothing back
)

// pingTimeout is long for a server with room, which answers within a round trip; without one the ping is back as soon.
const pingTimeout = 2 * time.Second

// An Answer is what a ping came to, and how soon.
type Answer struct {
	Outcome Outcome
	Took    time.Duration
}

// Ping asks whoever serves a service to answer at once, in a session of its own, as a client does that may not look at the
// queue. Nothing of it stays in a queue. ErrRefused: the user may not call the service.
func Ping(ctx context.Context, c conn.Connector, service string) (Answer, error) {
	s, err := c.Dial(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer s.Close(ctx)
	outcomes := make(chan Outcome, 2) // one is enough: those that come late find no room, or nobody
	say := func(o Outcome) {
		select {
		case outcomes <- o:
		default:
		}
	}
	q, err := s.DeclareQueue(ctx, conn.Queue{Exclusive: true, AutoDelete: true})
	if err != nil {
		return Answer{}, fmt.Errorf("reply queue: %w", err)
	}
	p, err := s.OpenPublisher(ctx, func(*conn.Return) { say(Unroutable) })
	if err != nil {
		return Answer{}, err
	}
	id := uuid.NewString()
	_, err = s.Consume(ctx, conn.Consume{Queue: q.Name, NoAck: true, Exclusive: true}, func(d *conn.Delivery) {
		if _, back := wire.DecodeBounce(&d.Message); back {
			say(Bounced)
		} else if d.CorrelationID == id {
			say(Answered)
		}
	})
	if err != nil {
		return Answer{}, err
	}
	start := time.Now()
	m := wire.EncodeRequest(&rpc.Request{
		Service: service, Method: wire.Ping, ContentType: rpc.ContentTypeText, ID: id, Client: "rabbitrpc doctor", Attempt: 1,
	}, wire.Attempt{Mode: wire.Direct, ReplyTo: q.Name, Timeout: pingTimeout})
	if err := p.Publish(m, nil); err != nil {
		return Answer{}, err
	}
	late := time.NewTimer(pingTimeout)
	defer late.Stop()
	select {
	case o := <-outcomes:
		return Answer{o, time.Since(start)}, nil
	case <-s.Done():
		if errors.Is(s.Err(), conn.ErrNotFound) { // the exchange
			return Answer{Outcome: Unroutable}, nil
		}
		return Answer{}, fmt.Errorf("ping %s: %w", service, s.Err())
	case <-late.C:
		return Answer{Outcome: Silent}, nil
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("ping %s: %w", service, ctx.Err())
	}
}

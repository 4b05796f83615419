package client

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// pingTimeout bounds the wait for the answer to a ping. A server with room answers within a round trip; one without
// lets it bounce as fast.
const pingTimeout = time.Second

// leaderTimeout is how long RabbitMQ asks the leader of a quorum queue. Without an answer it says that the queue has no
// consumers: while a leader is frozen or cut off, or has much to do.
const leaderTimeout = 250 * time.Millisecond

// look finds out who serves the service. Callers that look at the same time share one look; since is the time of which it
// must tell: one that began before may have seen a server that has died by then.
func (c *Client) look(ctx context.Context, l *link, svc *service, r *rpc.Request, since time.Time) (presence, error) {
	queue := c.queue(r.Service)
	for {
		result := c.looks.DoChan(l.replyTo+" "+queue, func() (any, error) {
			seen := sighting{at: time.Now()}
			var err error
			if seen.presence, err = c.inspect(context.WithoutCancel(ctx), l, svc, r.Service); err == nil {
				c.services.learn(svc, queue, seen.presence)
			}
			return seen, err
		})
		select {
		case r := <-result:
			if seen := r.Val.(sighting); r.Err != nil || !seen.at.Before(since) {
				return seen.presence, r.Err
			}
		case <-ctx.Done():
			return unknown, ctx.Err()
		}
	}
}

// A sighting is what a look has seen, and when it began.
type sighting struct {
	presence presence
	at       time.Time
}

// inspect asks the broker, within the session's own time limit. RabbitMQ 4.3 tells only users with the configure right;
// others ask the servers themselves. Unknown without an error: what it says need not be true.
func (c *Client) inspect(ctx context.Context, l *link, svc *service, name string) (presence, error) {
	queue, start := c.queue(name), time.Now()
	info, err := l.session.InspectQueue(ctx, queue)
	switch {
	case errors.Is(err, conn.ErrNotFound):
		return missing, nil
	case errors.Is(err, conn.ErrLocked), errors.Is(err, conn.ErrRefused) && c.opts.queue != "":
		return present, nil // a server's own queue; or one that may be there: publishing will tell
	case errors.Is(err, conn.ErrRefused):
		return c.ping(ctx, l, svc, name)
	case err != nil:
		return unknown, err
	case info.Consumers == 0 && time.Since(start) >= leaderTimeout:
		return unknown, nil
	case info.Consumers == 0:
		return absent, nil
	}
	return present, nil
}

// ping asks whoever serves the service to answer at once. If it comes back nobody is there, or nobody has room: that cannot
// be told apart without a look.
func (c *Client) ping(ctx context.Context, l *link, svc *service, name string) (presence, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	ping, _ := c.pending.add(&rpc.Request{
		Service: name, Method: wire.Ping, ContentType: rpc.ContentTypeText, ID: c.ids.next(), Client: c.opts.name,
	})
	defer c.pending.remove(ping, false)
	switch e := c.exchange(ctx, l, ping, wire.Attempt{Mode: wire.Direct}); e.kind {
	case replied, failed, full: // a server that does not know pings is one; who is at a full queue, a request will tell
		return present, nil
	case returned:
		return missing, nil
	case forbidden: // as a request would be
		c.services.deny(svc, c.queue(name), e.cause)
		return unknown, e.cause
	case lost, unsent, unsure, blocked:
		return unknown, e.cause
	}
	return absent, nil
}

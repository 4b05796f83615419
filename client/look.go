package client

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
func (c *Client) look(ctx context.Context, l *link, svc *service, r *rpc.Request, durable bool, since time.Time) (presence, error) {
	queue := c.queue(r.Service)
	ctx, release := waitWith(ctx)
	defer release()
	for {
		result := c.looks.DoChan(fmt.Sprint(l.replyTo, queue, durable), func() (_ any, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = panicked{fmt.Sprintf("%v\n\n%s", p, debug.Stack())}
				}
			}()
			seen := sighting{at: time.Now()}
			if seen.presence, err = c.inspect(context.WithoutCancel(ctx), l, svc, r.Service, durable); err == nil {
				c.services.learn(svc, queue, seen.presence)
			}
			return seen, err
		})
		select {
		case r := <-result:
			if p, ok := r.Err.(panicked); ok {
				panic(p.text)
			}
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

// panicked is how a hook has ended a look. Who looks panics, so that he may recover; on the goroutine of the look nobody could.
type panicked struct{ text string }

func (p panicked) Error() string { return p.text }

// inspect asks the broker, within the session's own time limit. RabbitMQ 4.3 tells only users with the configure right, and logs each
// refusal; others ask the servers themselves. Unknown without an error: what it says need not be true.
func (c *Client) inspect(ctx context.Context, l *link, svc *service, name string, durable bool) (presence, error) {
	if c.services.blind(svc) {
		return c.ping(ctx, l, svc, name)
	}
	queue, start := c.queue(name), time.Now()
	info, err := l.session.InspectQueue(ctx, queue)
	took := time.Since(start)
	switch {
	case errors.Is(err, conn.ErrNotFound):
		return missing, nil
	case errors.Is(err, conn.ErrLocked):
		return present, nil // a server's own queue
	case errors.Is(err, conn.ErrRefused):
		c.services.setBlind(svc)
		return c.ping(ctx, l, svc, name)
	case err != nil:
		return unknown, err
	}
	if err := c.ensureExchange(ctx, l, svc, name); err != nil {
		return unknown, err
	}
	switch {
	case info.Consumers == 0 && took >= leaderTimeout:
		return unknown, nil
	case info.Consumers == 0 && info.Messages == 0 && c.opts.queue == "" && c.services.served(svc):
		return c.ping(ctx, l, svc, name) // so it says of a queue without a leader, too: a ping waits for the next one
	case info.Consumers == 0:
		return absent, nil
	}
	return present, c.listen(ctx, l, svc, name, durable)
}

// listen finds out whether anything comes back of what is published in this session, if that is in question. A channel of RabbitMQ
// whose first message to a quorum queue meets a leader that is frozen or cut off may drop that and all that come after it, even
// when there is another leader, and neither return nor confirm them. And nodes that lost each other for a moment may not know the
// reply queue any more. Another channel, and another queue, help.
func (c *Client) listen(ctx context.Context, l *link, svc *service, name string, durable bool) error {
	if c.opts.queue != "" {
		return nil // servers of plain queues need not know pings
	}
	wait := c.services.silence(svc, durable)
	if wait == 0 {
		return nil
	}
	mode := wire.Direct
	if durable {
		mode = wire.Durable
	}
	switch e := c.exchangePing(ctx, l, name, mode, wait); {
	case e.heard():
		c.services.hear(svc, durable)
		return nil
	case e.kind == over, e.kind == unheard: // which comes before 8 s are over
		c.renew(l)
		return errSilent
	default:
		return e.cause
	}
}

// ping asks whoever serves the service to answer at once. If it comes back nobody is there, or nobody has room: that cannot
// be told apart without a look. If nothing comes back its queue may have no leader.
func (c *Client) ping(ctx context.Context, l *link, svc *service, name string) (presence, error) {
	if c.opts.queue != "" {
		return present, nil // maybe: servers of plain queues need not know pings, and publishing will tell
	}
	if there, err := c.seekExchange(ctx, l, svc, name); !there {
		return missing, err
	}
	switch e := c.exchangePing(ctx, l, name, wire.Direct, pingTimeout); e.kind {
	case replied, failed, full: // a server that does not know pings is one; who is at a full queue, a request will tell
		return present, nil
	case returned:
		return missing, nil
	case forbidden: // as a request would be
		c.services.deny(svc, c.queue(name), e.cause)
		return unknown, e.cause
	case lost, unsent, unsure, blocked, canceled:
		return unknown, e.cause
	case over:
		return unknown, nil
	}
	return absent, nil
}

func (c *Client) exchangePing(ctx context.Context, l *link, name string, mode wire.Mode, timeout time.Duration) event {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ping := newCall(ctx, &rpc.Request{
		Service: name, Method: wire.Ping, ContentType: rpc.ContentTypeText, ID: c.ids.next(), Client: c.opts.name,
	})
	c.pending.add(ping)
	defer c.pending.remove(ping, false)
	return c.exchange(ctx, l, ping, wire.Attempt{Mode: mode}, time.Now())
}

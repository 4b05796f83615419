package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A link is what the client has in one session: a publisher, and a reply queue of its own that ends with the session.
type link struct {
	session   conn.Session
	ready     chan struct{} // closed when the rest is set
	err       error
	publisher conn.Publisher
	begun     atomic.Int64 // publishes
	ended     atomic.Int64
	replyTo   string
	copy      any // see wire.Attempt.Copy
	consumer  conn.Consumer
}

// link returns the link of the live session. The first call of a session sets it up for all. With failFast it does not wait
// for a session, only for the setup.
func (c *Client) link(ctx context.Context, failFast bool) (*link, error) {
	session, err := c.session(ctx, failFast)
	if err != nil {
		return nil, err
	}
	l, err := c.linkOf(session)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.ready:
		return l, l.err
	case <-ctx.Done():
		return nil, fmt.Errorf("set up reply queue: %w", ctx.Err())
	}
}

// session returns the live session, or waits for one as long as ctx and the client live.
func (c *Client) session(ctx context.Context, failFast bool) (conn.Session, error) {
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	if current != nil && current.session.Err() == nil {
		return current.session, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	if failFast {
		cancel() // a session that is there is handed out all the same
	}
	return c.conn.Session(ctx)
}

func (c *Client) linkOf(session conn.Session) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if c.current != nil && c.current.session == session {
		return c.current, nil
	}
	if session.Err() != nil { // since it was handed out: by now there may be a link in the next one
		return nil, fmt.Errorf("set up reply queue: %w", conn.ErrClosed)
	}
	if h := c.opts.hooks.Session; h != nil {
		var err error
		if c.current != nil {
			err = c.current.session.Err()
		}
		h(err)
	}
	c.services.reconnected()
	l := &link{session: session, ready: make(chan struct{})}
	c.current = l
	c.wg.Go(func() {
		if l.err = l.open(c.life, c); l.err != nil {
			c.forget(l)
		}
		close(l.ready)
	})
	return l, nil
}

// forget lets the next call try again to set up a link in a session that is still good.
func (c *Client) forget(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == l {
		c.current = nil
	}
}

func (l *link) open(ctx context.Context, c *Client) (err error) {
	if c.opts.queue == "" {
		// A publish to an exchange that is not there costs the session its life. Who may not declare it relies on the servers.
		err = l.session.DeclareExchange(ctx, conn.Exchange{Name: wire.Exchange, Kind: "topic", Durable: true})
		if err != nil && !errors.Is(err, conn.ErrRefused) && !errors.Is(err, conn.ErrPrecondition) {
			return err
		}
	}
	q, err := l.session.DeclareQueue(ctx, conn.Queue{Exclusive: true, AutoDelete: true})
	if err != nil {
		return fmt.Errorf("reply queue: %w", err)
	}
	defer func() {
		if err != nil {
			l.session.DeleteQueue(context.WithoutCancel(ctx), q.Name) // the session may live on
		}
	}()
	l.replyTo, l.copy = q.Name, wire.CopyTo(q.Name)
	if l.publisher, err = l.session.OpenPublisher(ctx, c.onReturn); err != nil {
		return err
	}
	l.consumer, err = l.session.Consume(ctx, conn.Consume{Queue: q.Name, NoAck: true, Exclusive: true, Prompt: true}, c.onDelivery)
	return err
}

func (l *link) close(ctx context.Context) error {
	if l.err != nil || l.session.Err() != nil {
		return nil
	}
	return l.consumer.Cancel(ctx)
}

// publish publishes a request, and returns its place among those of the session; 0 if another goroutine publishes at the
// same time.
func (l *link) publish(m *conn.Message, confirmed func(bool)) (place int64, err error) {
	place = l.begun.Add(1)
	alone := l.ended.Load() == place-1
	err = l.publisher.Publish(m, confirmed)
	l.ended.Add(1)
	if !alone {
		place = 0
	}
	return place, err
}

// last reports whether no request was published after that at place. The broker refuses one and takes none that come
// after it, so the last is the one that it has not taken for sure. An earlier one may be running.
func (l *link) last(place int64) bool { return l.begun.Load() == place }

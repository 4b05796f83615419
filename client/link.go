package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A link is what the client has in one session: a publisher, and a reply queue of its own that ends with the session.
type link struct {
	session   conn.Session
	ready     chan struct{} // closed when the rest is set
	err       error
	publisher conn.Publisher
	replyTo   string
	consumer  conn.Consumer

	silent bool  // nothing comes back: there has to be another; guarded by the client's mutex, as before is
	before *link // that was silent, in the same session
}

// maxSilentLinks bounds what is left behind in a session. What is out in a link may still be answered there.
const maxSilentLinks = 16

// giveUpTimeout bounds what Close leaves behind where the broker does not answer.
const giveUpTimeout = 10 * time.Second

// link returns the link of the live session. The first call of a session sets it up for all. With failFast it does not wait
// for a session, only for the setup.
func (c *Client) link(ctx context.Context, failFast bool) (*link, error) {
	if l := c.live.Load(); l != nil && l.session.Err() == nil {
		return l, nil
	}
	ctx, release := waitWith(ctx)
	defer release()
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

// linkOf returns the link of a session, which may not be ready yet.
func (c *Client) linkOf(session conn.Session) (*link, error) {
	defer c.sessions.tell() // not under the lock, nor on a goroutine that Close waits for
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	before := c.current
	if before != nil && before.session == session && !before.silent {
		return before, nil
	}
	if session.Err() != nil { // since it was handed out: by now there may be a link in the next one
		return nil, fmt.Errorf("set up reply queue: %w", conn.ErrClosed)
	}
	l := &link{session: session, ready: make(chan struct{})}
	if before != nil && before.session == session {
		l.before = before
		if oldest := l.shed(); oldest != nil {
			c.wg.Go(func() { c.forget(oldest) })
		}
	}
	c.current = l
	c.live.Store(nil)
	if c.watched != session {
		c.reconnected(session)
	}
	c.wg.Go(func() {
		l.err = l.open(c.life, c)
		c.opened(l)
		close(l.ready)
	})
	return l, nil
}

// opened lets all calls have a link, or lets the next call try again to set one up in a session that is still good.
func (c *Client) opened(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.current != l || c.closed:
	case l.err != nil:
		c.current = l.before
	default:
		c.live.Store(l)
	}
}

// reconnected is called with the mutex locked.
func (c *Client) reconnected(session conn.Session) {
	var err error
	if c.watched != nil {
		err = c.watched.Err()
	}
	c.sessions.add(err)
	c.services.reconnected()
	c.watched = session
	c.wg.Go(func() { c.watch(session) })
}

// renew lets the next call set up another link in the same session.
func (c *Client) renew(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.silent = true
	c.live.CompareAndSwap(l, nil)
}

// shed takes the oldest of too many silent links off, and returns it, or nil.
func (l *link) shed() *link {
	for range maxSilentLinks {
		if l = l.before; l == nil {
			return nil
		}
	}
	oldest := l.before
	l.before = nil
	return oldest
}

func (c *Client) forget(l *link) {
	ctx, cancel := context.WithTimeout(c.life, pingTimeout)
	defer cancel()
	l.close(ctx) // an error: the session is over, or keeps it
}

func (l *link) open(ctx context.Context, c *Client) (err error) {
	q, err := l.session.DeclareQueue(ctx, conn.Queue{Exclusive: true, AutoDelete: true})
	if err != nil {
		return fmt.Errorf("reply queue: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		ctx := context.WithoutCancel(ctx) // the session may live on
		if l.publisher != nil {
			l.publisher.Close(ctx)
		}
		l.session.DeleteQueue(ctx, q.Name)
	}()
	l.replyTo = q.Name
	if l.publisher, err = l.session.OpenPublisher(ctx, c.onReturn); err != nil {
		return err
	}
	consume := conn.Consume{Queue: q.Name, NoAck: true, Exclusive: true, Prompt: true, MaxBody: c.opts.maxReply}
	l.consumer, err = l.session.Consume(ctx, consume, c.onDelivery)
	return err
}

// giveUp closes a link, if there is one, within the time that its session may take for that.
func (l *link) giveUp(ctx context.Context) error {
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, giveUpTimeout)
	defer cancel()
	return l.close(ctx)
}

func (l *link) close(ctx context.Context) error {
	if l.session.Err() != nil {
		return nil
	}
	var err error
	if l.err == nil {
		err = errors.Join(l.consumer.Cancel(ctx), l.publisher.Close(ctx))
	}
	if l.before != nil {
		err = errors.Join(err, l.before.close(ctx))
	}
	return err
}

// refused reports whether the session has ended with err since the broker would not take requests to the service of a call, and has
// not taken that of the present attempt for certain.
func (l *link) refused(c *call, err error) bool {
	if !errors.Is(err, conn.ErrRefused) && !errors.Is(err, conn.ErrNotFound) || !wire.Denies(c.req.Service, err.Error()) {
		return false
	}
	m := l.publisher.Refused()
	return m != nil && m.CorrelationID == c.req.ID && wire.AttemptOf(m) == c.req.Attempt
}

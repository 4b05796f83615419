package client

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A publish to an exchange that is not there costs the session its life, with all calls that are out. So before the first
// request to a service in a session, the client makes sure of its exchange. When that is deleted later the session is lost
// once.

// seekAgain is how long an exchange that was not found is taken to be missing, and how long a client waits that could not look for
// it: that takes a connection.
const seekAgain = time.Second

// ensureExchange declares the exchange of a service that has a queue. Who may not relies on the servers, which declare it
// before the queue.
func (c *Client) ensureExchange(ctx context.Context, l *link, svc *service, name string) error {
	if c.opts.queue != "" || c.services.hasExchange(svc, l.session) {
		return nil
	}
	err := l.session.DeclareExchange(ctx, wire.RequestExchange(name))
	if err != nil && !errors.Is(err, conn.ErrRefused) && !errors.Is(err, conn.ErrPrecondition) {
		return err
	}
	c.services.foundExchange(svc, l.session)
	return nil
}

// seekExchange finds out whether there is an exchange for a service, on behalf of who may neither look nor declare. It publishes
// there what no broker takes, in a session that it can lose: the broker looks for the exchange before it says no.
func (c *Client) seekExchange(ctx context.Context, l *link, svc *service, name string) (there bool, err error) {
	switch {
	case c.services.hasExchange(svc, l.session):
		return true, nil
	case c.services.sought(svc):
		return false, nil
	}
	there, err = c.tryExchange(ctx, name)
	switch {
	case err != nil: // callers look again at once
		again := time.NewTimer(seekAgain)
		defer again.Stop()
		select {
		case <-again.C:
		case <-l.session.Done():
		case <-c.life.Done():
		}
	case there:
		c.services.foundExchange(svc, l.session)
	default:
		c.services.seek(svc)
	}
	return there, err
}

// tryExchange reports whether the broker finds the exchange of a service.
func (c *Client) tryExchange(ctx context.Context, name string) (there bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	session, err := c.conn.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer session.Close(ctx)
	publisher, err := session.OpenPublisher(ctx, nil)
	if err != nil {
		return false, err
	}
	err = publisher.Publish(&conn.Message{Exchange: wire.Exchange(name), Expiration: "0", UserID: c.ids.next()}, nil) // nobody's
	if err != nil {
		return false, err
	}
	select {
	case <-session.Done():
		return !errors.Is(session.Err(), conn.ErrNotFound), nil // whatever else there is to say, a request will be told
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// hasExchange reports whether the exchange of a service was found in a session.
func (s *services) hasExchange(svc *service, session conn.Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return svc.exchangeIn == session
}

func (s *services) foundExchange(svc *service, session conn.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	svc.exchangeIn = session
}

// sought reports whether the exchange of a service was not there a moment ago.
func (s *services) sought(svc *service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(svc.missed) < seekAgain
}

func (s *services) seek(svc *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	svc.missed = time.Now()
}

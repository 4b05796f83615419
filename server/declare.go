package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// declare makes sure of the service's exchange, queue and binding, and of the plain queue. What the broker refuses is not this
// server's to declare: refused is the first such refusal, and somebody with more rights may have declared all. Consuming will
// tell whether the queue is there.
func (s *Server) declare(ctx context.Context, session conn.Session) (refused, err error) {
	t := &s.topology
	for _, step := range [...]func() error{
		func() error { return session.DeclareExchange(ctx, t.Exchange) },
		func() error { _, err := session.DeclareQueue(ctx, t.Queue); return err },
		func() error { return session.BindQueue(ctx, t.Queue.Name, t.Exchange.Name, "") },
		func() error { return s.declarePlain(ctx, session) },
	} {
		err := step()
		switch {
		case errors.Is(err, conn.ErrRefused) && refused == nil:
			refused = err
		case err != nil && !errors.Is(err, conn.ErrRefused):
			return refused, undeclared(err, refused)
		}
	}
	return refused, nil
}

// undeclared adds to the error of what is not there why this server has not put it there.
func undeclared(err, refused error) error {
	if err == nil || refused == nil {
		return err
	}
	return fmt.Errorf("%w; have it declared, this server may not: %w", err, refused)
}

// declarePlain makes sure of the plain queue, if there is to be one.
func (s *Server) declarePlain(ctx context.Context, session conn.Session) error {
	if s.opts.queue == "" {
		return nil
	}
	_, err := session.InspectQueue(ctx, s.opts.queue)
	if errors.Is(err, conn.ErrNotFound) {
		_, err = session.DeclareQueue(ctx, wire.PlainQueue(s.opts.queue))
	}
	if errors.Is(err, conn.ErrRefused) || errors.Is(err, conn.ErrPrecondition) {
		return nil // it may be there all the same: consuming will tell
	}
	return err
}

// declareParked makes sure of the parked queue. With other properties than these it serves as well. If the server may not
// declare it, somebody else has to have; where it may not even look, since RabbitMQ 4.3, publishing will tell.
func (s *Server) declareParked(ctx context.Context, session conn.Session) error {
	_, err := session.DeclareQueue(ctx, s.topology.Parked)
	switch {
	case errors.Is(err, conn.ErrPrecondition):
		return nil
	case !errors.Is(err, conn.ErrRefused):
		return err
	}
	_, missing := session.InspectQueue(ctx, s.topology.Parked.Name)
	if missing == nil || errors.Is(missing, conn.ErrRefused) {
		return nil
	}
	return undeclared(missing, err)
}

// sources returns what each queue of the server holds.
func (s *Server) sources() map[string]*wire.Source {
	source := wire.Source{Service: s.service, Timeout: min(s.opts.timeout, s.opts.limits.Timeout), Limits: s.opts.limits.ofRequests()}
	all := map[string]*wire.Source{s.topology.Queue.Name: &source}
	if s.opts.queue != "" {
		plain := source
		plain.Plain, plain.Method = true, s.opts.method
		all[s.opts.queue] = &plain
	}
	return all
}

package server

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// verdict is the interceptor around the handlers: it turns whatever they do into a reply or an *rpc.Error that may cross
// the wire, and that says whether the handler ran.
func (s *Server) verdict(next rpc.Handler) rpc.Handler {
	return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
		reply, err := s.safely(ctx, r, next, "handler")
		if err != nil {
			return nil, s.crossing(ctx, r, err)
		}
		if reply.Server == "" {
			named := *reply // it may be the handler's, for all calls
			named.Server = s.opts.name
			reply = &named
		}
		return reply, nil
	}
}

// safely calls h, which is called who. A panic becomes an error, and so does no answer at all.
func (s *Server) safely(ctx context.Context, r *rpc.Request, h rpc.Handler, who string) (reply *rpc.Reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(ctx, who, r, p)
			reply, err = nil, rpc.Errorf(rpc.Internal, "%s panicked", who)
		}
	}()
	reply, err = h(ctx, r)
	if reply == nil && err == nil {
		err = rpc.Errorf(rpc.Internal, "%s returned neither reply nor error", who)
	}
	return reply, err
}

// panicked says what a panic was. It is called while that is recovered from.
func (s *Server) panicked(ctx context.Context, who string, r *rpc.Request, p any) {
	s.stats.panics.Add(1)
	s.opts.log.ErrorContext(ctx, who+" panicked", "service", s.service, "method", r.Method, "call", r.ID,
		"panic", p, "stack", string(debug.Stack()))
}

// crossing returns what the caller may know of a handler's error.
func (s *Server) crossing(ctx context.Context, r *rpc.Request, err error) error {
	if e := own(err); e != nil {
		switch {
		case e.Executed == rpc.ExecutedNo:
			return e // the handler's promise
		case errors.Is(e, rpc.ErrInDoubt):
			return e.WithExecuted(rpc.ExecutedUnknown)
		}
		return e.WithExecuted(rpc.ExecutedYes)
	}
	s.opts.log.WarnContext(ctx, "handler failed", "service", s.service, "method", r.Method, "call", r.ID, "err", err)
	code, text := rpc.Unknown, "handler failed"
	if _, coded := errors.AsType[*rpc.Error](err); !coded && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		code, text = rpc.DeadlineExceeded, "handler was out of time"
		if ctx.Err() == context.Canceled {
			code, text = rpc.Unavailable, "server stopped before the handler was done"
		}
	}
	return rpc.Errorf(code, "%s", text).WithCause(err).WithExecuted(rpc.ExecutedYes)
}

// own returns the verdict in err, or nil. What another server said of a call that the handler made, or a client that got
// no answer, is no verdict on this call: it is hidden like any error that was not meant for the caller.
func own(err error) *rpc.Error {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e == nil || e.Remote || unanswered(e.Unwrap()) {
		return nil
	}
	return e
}

// unanswered finds rpc.ErrNoAnswer in a chain, up to the next *rpc.Error: who makes an error of his own around that of a
// client gives a verdict.
func unanswered(err error) bool {
	switch e := err.(type) {
	case *rpc.Error:
		return false
	case interface{ Unwrap() error }:
		return unanswered(e.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), unanswered)
	}
	return err == rpc.ErrNoAnswer
}

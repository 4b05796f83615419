package server

import (
	"context"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// authorize asks the authorizer, if there is one, and returns what the caller may know of its no.
func (s *Server) authorize(ctx context.Context, r *rpc.Request) *rpc.Error {
	if s.opts.authorizer == nil {
		return nil
	}
	_, err := s.safely(ctx, r, s.asked, "authorizer")
	if err == nil {
		return nil
	}
	if e := own(err); e != nil {
		return e.WithExecuted(rpc.ExecutedNo)
	}
	s.denied.warn(ctx, s.opts.log, "request not permitted", "service", s.service, "method", r.Method, "call", r.ID,
		"user", r.User, "err", err)
	return rpc.Errorf(rpc.PermissionDenied, "not permitted").WithCause(err).WithExecuted(rpc.ExecutedNo)
}

var permitted = new(rpc.Reply)

func (s *Server) asked(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	return permitted, s.opts.authorizer(ctx, r)
}

package server

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// authorize asks the authorizer, if there is one, and returns what the caller may know of its no.
func (s *Server) authorize(ctx context.Context, r *rpc.Request) (denied *rpc.Error) {
	if s.opts.authorizer == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			s.stats.panics.Add(1)
			s.opts.log.Error("authorizer panicked", "service", s.service, "method", r.Method, "call", r.ID,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			denied = rpc.Errorf(rpc.Internal, "authorizer panicked").WithExecuted(rpc.ExecutedNo)
		}
	}()
	err := s.opts.authorizer(ctx, r)
	if err == nil {
		return nil
	}
	if e := own(err); e != nil {
		return e.WithExecuted(rpc.ExecutedNo)
	}
	s.unanswered.warn(s.opts.log, "request not permitted", "service", s.service, "method", r.Method, "call", r.ID,
		"user", r.User, "err", err)
	return rpc.Errorf(rpc.PermissionDenied, "not permitted").WithCause(err).WithExecuted(rpc.ExecutedNo)
}

package server

import (
	"context"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// overdueAfter is how long after its deadline a handler is waited for, before its caller is answered without it.
const overdueAfter = time.Second

// An overdue watches for a handler that does not look at its context. Its caller is told, its worker is not free, and its
// request not acknowledged before it ends: so that the broker hands over no more, in this session, than there are free
// workers for.
//
// It watches one request after the other, until it has had to tell a caller.
type overdue struct {
	server *Server
	timer  *time.Timer
	told   chan struct{} // closed when the caller has been told

	ctx  context.Context // of the request that is watched
	job  *job
	call *wire.Call
}

func (s *Server) newOverdue() any {
	o := &overdue{server: s, told: make(chan struct{})}
	o.timer = time.AfterFunc(time.Hour, o.tell)
	o.timer.Stop()
	return o
}

func (s *Server) watch(ctx context.Context, j *job, call *wire.Call, deadline time.Time) *overdue {
	o := s.watches.Get().(*overdue)
	o.ctx, o.job, o.call = ctx, j, call
	o.timer.Reset(time.Until(deadline) + overdueAfter)
	return o
}

func (o *overdue) tell() {
	defer close(o.told)
	s, call := o.server, o.call
	s.stats.overdue.Add(1)
	s.stats.stuck.Add(1)
	s.opts.log.ErrorContext(o.ctx, "request is overdue, and keeps its worker", "service", s.service,
		"method", call.Method, "call", call.ID, "timeout", call.Timeout)
	s.send(o.ctx, o.job, call, s.encodeError(o.job, call, rpc.Errorf(rpc.DeadlineExceeded, "handler did not end in time")))
}

// end reports whether the caller is still to be answered.
func (o *overdue) end() bool {
	if o.timer.Stop() {
		o.ctx, o.job, o.call = nil, nil, nil
		o.server.watches.Put(o)
		return true
	}
	<-o.told
	o.server.stats.stuck.Add(-1)
	return false
}

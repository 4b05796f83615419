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
type overdue struct {
	stats *stats
	timer *time.Timer
	told  chan struct{} // closed when the caller has been told
}

func (s *Server) watch(ctx context.Context, j *job, call *wire.Call, deadline time.Time) *overdue {
	o := &overdue{stats: &s.stats, told: make(chan struct{})}
	o.timer = time.AfterFunc(time.Until(deadline)+overdueAfter, func() {
		defer close(o.told)
		s.stats.overdue.Add(1)
		s.stats.stuck.Add(1)
		s.opts.log.ErrorContext(ctx, "request is overdue, and keeps its worker", "service", s.service,
			"method", call.Method, "call", call.ID, "timeout", call.Timeout)
		s.send(ctx, j, call, s.encodeError(j, call, rpc.Errorf(rpc.DeadlineExceeded, "handler did not end in time")))
	})
	return o
}

// end reports whether the caller is still to be answered.
func (o *overdue) end() bool {
	if o.timer.Stop() {
		return true
	}
	<-o.told
	o.stats.stuck.Add(-1)
	return false
}

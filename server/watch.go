package server

import (
	"context"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	// overdueAfter is how long after its deadline a handler is waited for, before its caller is answered without it.
	overdueAfter = time.Second

	// runningEvery is how often callers hear that their requests run. Without, they take them for lost after three times that.
	runningEvery = 2 * time.Second
)

// A watch is kept on a request that runs. Its caller hears of it, if it takes long: else the broker may have lost it.
//
// And there are handlers that do not look at their context. The caller of such a one is told, its worker is not free, and its
// request not acknowledged before it ends: so that the broker hands over no more, in this session, than there are free
// workers for.
//
// It watches one request after the other.
type watch struct {
	server *Server
	timer  *time.Timer

	mu       sync.Mutex      // guards what follows
	ctx      context.Context // of the request that is watched
	job      *job            // nil without one
	call     *wire.Call
	deadline time.Time
	told     chan struct{} // nil, unless it is overdue; closed when the caller has been told
}

func (s *Server) newWatch() any {
	w := &watch{server: s}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

func (s *Server) watch(ctx context.Context, j *job, call *wire.Call, deadline time.Time) *watch {
	w := s.watches.Get().(*watch)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx, w.job, w.call, w.deadline = ctx, j, call, deadline
	w.timer.Reset(w.next())
	return w
}

// next is how long there is nothing to tell the caller.
func (w *watch) next() time.Duration {
	left := time.Until(w.deadline) + overdueAfter
	if w.call.Waits {
		return min(left, runningEvery)
	}
	return left
}

func (w *watch) look() {
	w.mu.Lock()
	ctx, j, call := w.ctx, w.job, w.call
	if j == nil || w.told != nil { // it has ended at this moment
		w.mu.Unlock()
		return
	}
	overdue := time.Until(w.deadline)+overdueAfter <= 0
	if overdue {
		w.told = make(chan struct{})
	}
	told := w.told
	w.mu.Unlock()
	if overdue {
		w.tell(ctx, j, call, told)
		return
	}
	m := wire.EncodeRunning(call, w.server.opts.name)
	m.UserID = w.server.opts.user
	_ = j.publisher.Publish(m, nil) // there will be another, or the session is over
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.job == j {
		w.timer.Reset(w.next())
	}
}

func (w *watch) tell(ctx context.Context, j *job, call *wire.Call, told chan<- struct{}) {
	defer close(told)
	s := w.server
	s.stats.overdue.Add(1)
	s.stats.stuck.Add(1)
	s.opts.log.ErrorContext(ctx, "request is overdue, and keeps its worker", "service", s.service,
		"method", call.Method, "call", call.ID, "timeout", call.Timeout)
	m := s.encodeError(j, call, rpc.Errorf(rpc.DeadlineExceeded, "handler did not end in time"))
	if !s.sendDirect(ctx, call, m) {
		s.send(ctx, j, call, m, s.publishConfirmed)
	}
}

// end reports whether the caller is still to be answered.
func (w *watch) end() bool {
	w.mu.Lock()
	w.timer.Stop()
	told := w.told
	w.ctx, w.job, w.call, w.told = nil, nil, nil, nil
	w.mu.Unlock()
	w.server.watches.Put(w)
	if told == nil {
		return true
	}
	<-told
	w.server.stats.stuck.Add(-1)
	return false
}

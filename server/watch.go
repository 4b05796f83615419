package server

import (
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

	mu   sync.Mutex    // guards what follows
	job  *job          // the request that is watched; nil without one
	told chan struct{} // nil, unless it is overdue; closed when the caller has been told
}

func (s *Server) newWatch() any {
	w := &watch{server: s}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

func (s *Server) watch(j *job) *watch {
	w := s.watches.Get().(*watch)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.job = j
	w.timer.Reset(w.next())
	return w
}

// next is how long there is nothing to tell the caller.
func (w *watch) next() time.Duration {
	left := time.Until(w.job.deadline) + overdueAfter
	if w.job.call.Waits {
		return min(left, runningEvery)
	}
	return left
}

func (w *watch) look() {
	w.mu.Lock()
	j := w.job
	if j == nil || w.told != nil { // it has ended at this moment
		w.mu.Unlock()
		return
	}
	overdue := time.Until(w.job.deadline)+overdueAfter <= 0
	if overdue {
		w.told = make(chan struct{})
	}
	told := w.told
	w.mu.Unlock()
	switch {
	case overdue:
		w.tell(j, told)
		return
	case !j.call.Waits: // the timer was that of the request before, which ended at this moment
		return
	}
	m := wire.EncodeRunning(&j.call, w.server.opts.name)
	m.UserID = w.server.opts.user
	_ = j.publisher.Publish(m, nil) // there will be another, or the session is over
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.job == j {
		w.timer.Reset(w.next())
	}
}

func (w *watch) tell(j *job, told chan<- struct{}) {
	defer close(told)
	s := w.server
	s.stats.overdue.Add(1)
	s.stats.stuck.Add(1)
	s.opts.log.ErrorContext(&j.ctx, "request is overdue, and keeps its worker", "service", s.service,
		"method", j.call.Method, "call", j.call.ID, "timeout", j.call.Timeout)
	m := s.encodeError(j, rpc.Errorf(rpc.DeadlineExceeded, "handler did not end in time"))
	if !s.sendDirect(j, m, func() {}) {
		s.send(j, m, s.publishConfirmed)
	}
}

// end reports whether the caller is still to be answered.
func (w *watch) end() bool {
	w.mu.Lock()
	w.timer.Stop()
	told := w.told
	w.job, w.told = nil, nil
	w.mu.Unlock()
	w.server.watches.Put(w)
	if told == nil {
		return true
	}
	<-told
	w.server.stats.stuck.Add(-1)
	return false
}

package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// strays are replies that the broker has returned, since it does not know the queue of the caller.
//
// Most callers of such are gone. But a node of a cluster that has lost another one for a moment may have forgotten the reply queues of
// the callers there, or never hear of new ones, and serve on. So a stray takes a way around: one node after the other is tried, until
// one knows the queue. Without, the reply would be lost, and with it the knowledge of what was executed.
type strays struct {
	server  *Server
	waiting chan stray
	last    chan struct{}        // closed when there will be no more
	ways    map[conn.Dialer]*way // by node; the goroutine's own
	open    atomic.Int64         // that have not found a way yet
	none    chan struct{}        // holds a token if there may be none

	mu      sync.Mutex // guards what follows
	running bool       // the goroutine
	closed  bool
	wg      sync.WaitGroup
}

// A stray is a reply with the nodes that were not tried.
type stray struct {
	reply *conn.Message
	left  []conn.Dialer
}

const (
	maxStrays   = 1024             // that wait to be published
	wayTimeout  = 2 * time.Second  // to dial a node
	wayIdle     = 10 * time.Second // that the sessions are kept for more
	unknownFor  = 10 * time.Second // that a queue, or a node, is not tried again
	maxUnknowns = 4096             // queues remembered for each node
)

func newStrays(s *Server) *strays {
	return &strays{
		server: s, waiting: make(chan stray, maxStrays), last: make(chan struct{}), ways: make(map[conn.Dialer]*way), none: make(chan struct{}, 1),
	}
}

// add takes a reply that came back in the session that the server works in. It does not wait.
func (s *strays) add(m *conn.Message) {
	s.open.Add(1)
	s.next(stray{m, s.server.conn.Elsewhere()})
}

// leave comes when a stray has found its way, or none.
func (s *strays) leave(m *conn.Message, routed bool) {
	if routed {
		s.server.rerouted(m)
	} else {
		s.server.unroutable(m)
	}
	if s.open.Add(-1) > 0 {
		return
	}
	select {
	case s.none <- struct{}{}:
	default:
	}
}

// next has a stray try the next node, or gives it up.
func (s *strays) next(st stray) {
	if len(st.left) == 0 || !s.put(st) {
		s.leave(st.reply, false)
	}
}

// put is false if there are too many, or no more are taken.
func (s *strays) put(st stray) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	select {
	case s.waiting <- st:
	default:
		return false
	}
	if !s.running {
		s.running = true
		s.wg.Go(s.run)
	}
	return true
}

// run sends strays until there have been none for a while, or there will be no more.
func (s *strays) run() {
	idle := time.NewTimer(wayIdle)
	defer idle.Stop()
	for {
		select {
		case st := <-s.waiting:
			s.send(st)
			idle.Reset(wayIdle)
		case <-idle.C:
			if s.rest() {
				return
			}
		case <-s.last:
			s.rest()
			return
		}
	}
}

// rest closes the sessions, and ends the goroutine if nothing waits: the next stray starts another.
func (s *strays) rest() bool {
	ctx, cancel := context.WithTimeout(context.Background(), wayTimeout)
	defer cancel()
	for node, w := range s.ways {
		w.lane.close(ctx)
		delete(s.ways, node)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = len(s.waiting) > 0
	return !s.running
}

// send publishes a stray by way of the next node that may know the queue.
func (s *strays) send(st stray) {
	for len(st.left) > 0 {
		w := s.way(st.left[0])
		st.left = st.left[1:]
		if w.publish(st.reply, func() { s.ended(w, st) }) {
			return
		}
	}
	s.leave(st.reply, false)
}

// ended comes after the return of the reply, if it was returned here, too.
func (s *strays) ended(w *way, st stray) {
	if w.knows(st.reply.Key) {
		s.leave(st.reply, true)
		return
	}
	s.next(st)
}

func (s *strays) way(node conn.Dialer) *way {
	w := s.ways[node]
	if w == nil {
		w = newWay(node)
		s.ways[node] = w
	}
	return w
}

// close waits for those that are under way, for a while, and ends the sessions.
func (s *strays) close() {
	limit := time.NewTimer(wayTimeout)
	defer limit.Stop()
	for waits := true; waits && s.open.Load() > 0; {
		select {
		case <-s.none:
		case <-limit.C: // the session with a node may have ended
			waits = false
		}
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.last)
	s.wg.Wait()
}

// A way is the one by a node.
type way struct {
	lane    lane
	down    time.Time                     // when it could not be dialled
	unknown *lru.Cache[string, time.Time] // queues that it does not know
}

func newWay(node conn.Dialer) *way {
	unknown, err := lru.New[string, time.Time](maxUnknowns)
	if err != nil {
		panic(err) // only for a size below one
	}
	w := &way{unknown: unknown}
	w.lane = lane{conn: node, onReturn: func(r *conn.Return) { unknown.Add(r.Key, time.Now()) }}
	return w
}

// publish is false if there is no way. Else ended is called with the broker's verdict, unless the session ends.
func (w *way) publish(m *conn.Message, ended func()) bool {
	if time.Since(w.down) < unknownFor || !w.knows(m.Key) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), wayTimeout)
	defer cancel()
	_, publisher, err := w.lane.open(ctx)
	if err != nil {
		w.down = time.Now()
		return false
	}
	return publisher.Publish(m, func(bool) { ended() }) == nil
}

// knows is false of a queue that was not known a moment ago.
func (w *way) knows(queue string) bool {
	at, missed := w.unknown.Get(queue)
	return !missed || time.Since(at) >= unknownFor
}

// onReturn has replies that found no queue go another way. It counts those that find none.
func (s *Server) onReturn(r *conn.Return) {
	switch {
	case r.Key == wire.ParkedQueue(s.service):
		s.parkedReturned.Add(1)
	case wire.KindOfReplyTo(r.Key) == wire.ReplyDirect: // which all nodes know, while there is one who listens
		s.unroutable(&r.Message)
	default:
		s.strays.add(&r.Message)
	}
}

// unroutable counts a reply whose caller is gone. A caller that comes back finds the reply in the store.
func (s *Server) unroutable(m *conn.Message) {
	if !wire.SaysRunning(m) {
		s.stats.unroutable.Add(1)
	}
}

func (s *Server) rerouted(m *conn.Message) {
	s.stats.rerouted.Add(1)
	s.split.warn(context.Background(), s.opts.log, "the broker node of this server does not know a caller's queue, and another node does: "+
		"rabbitmqctl cluster_status tells of a partition, whose nodes are to be restarted", "service", s.service, "queue", m.Key)
}

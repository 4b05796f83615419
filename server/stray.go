package server

import (
	"context"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// strays are replies that the broker has returned, since it does not know the queue of the caller.
//
// Most callers of such are gone. But a node of a cluster that has lost another one for a moment may have forgotten the reply queues of
// the callers there, or never hear of new ones, and serve on. So a stray goes by way of one node after the other, until one knows the
// queue. Without, the reply would be lost, and with it the knowledge of what was executed.
type strays struct {
	server *Server
	life   context.Context // ends a while after Run, at the latest
	end    context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	ways   map[conn.Dialer]*way
	open   int         // strays that are under way
	bytes  int         // of their bodies
	idle   *time.Timer // for the time after the last
	closed bool
}

const (
	maxStrays     = 1024             // under way
	maxStrayBytes = 64 << 20         // of their bodies
	wayTimeout    = 2 * time.Second  // for a node to take a stray, or not
	wayIdle       = 10 * time.Second // that sessions are kept for more strays
	unknownFor    = 10 * time.Second // that a queue, or a node, is not tried again
	maxUnknowns   = 4096             // queues remembered for each node
)

func newStrays(s *Server) *strays {
	all := &strays{server: s, ways: make(map[conn.Dialer]*way)}
	all.life, all.end = context.WithCancel(context.Background())
	all.idle = time.AfterFunc(wayIdle, all.rest)
	all.idle.Stop()
	return all
}

// add takes a reply that came back in the session that the server works in. It does not wait.
func (s *strays) add(m *conn.Message) {
	nodes := s.server.conn.Elsewhere()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(nodes) == 0 || s.open == maxStrays || s.bytes+len(m.Body) > maxStrayBytes {
		s.server.unroutable(m)
		return
	}
	s.open++
	s.bytes += len(m.Body)
	s.wg.Go(func() { s.send(m, nodes) })
}

// send tries one node after the other. What it says of each is the reason to try the next.
func (s *strays) send(m *conn.Message, nodes []conn.Dialer) {
	if slices.ContainsFunc(nodes, func(n conn.Dialer) bool { return s.way(n).take(s.life, m) }) {
		s.server.rerouted(m)
	} else {
		s.server.unroutable(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.bytes -= len(m.Body)
	if s.open == 0 && !s.closed {
		s.idle.Reset(wayIdle)
	}
}

func (s *strays) way(node conn.Dialer) *way {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.ways[node]
	if w == nil {
		w = newWay(node)
		s.ways[node] = w
	}
	return w
}

// rest closes the sessions, unless there is a stray again.
func (s *strays) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open > 0 || s.closed {
		return
	}
	ways := s.ways
	s.ways = make(map[conn.Dialer]*way)
	s.wg.Go(func() { closeAll(ways) })
}

// close waits for the strays that are under way, for a while, and ends the sessions. There are no strays any more.
func (s *strays) close() {
	s.mu.Lock()
	s.closed = true
	s.idle.Stop()
	s.mu.Unlock()
	defer s.end()
	defer time.AfterFunc(wayTimeout, s.end).Stop()
	s.wg.Wait()
	closeAll(s.ways)
}

func closeAll(ways map[conn.Dialer]*way) {
	ctx, cancel := context.WithTimeout(context.Background(), wayTimeout)
	defer cancel()
	for _, w := range ways {
		w.lane.close(ctx)
	}
}

// A way leads through one node.
type way struct {
	lane    lane
	unknown *lru.Cache[string, time.Time] // queues that the node does not know, and since when
	turn    chan struct{}                 // who sends into it may dial
	down    time.Time                     // when it could not be dialled; whose turn it is
}

func newWay(node conn.Dialer) *way {
	unknown, err := lru.New[string, time.Time](maxUnknowns)
	if err != nil {
		panic(err) // only for a size below one
	}
	w := &way{unknown: unknown, turn: make(chan struct{}, 1)}
	w.lane = lane{conn: node, onReturn: func(r *conn.Return) { unknown.Add(r.Key, time.Now()) }}
	return w
}

// take reports whether the node has taken a stray for its queue.
func (w *way) take(ctx context.Context, m *conn.Message) bool {
	ctx, cancel := context.WithTimeout(ctx, wayTimeout)
	defer cancel()
	o, ok := w.open(ctx, m.Key)
	if !ok {
		return false
	}
	verdict := make(chan bool, 1)
	if err := o.publish(ctx, m, func(ok bool) { verdict <- ok && w.knows(m.Key) }); err != nil { // a return came before
		return false
	}
	select {
	case taken := <-verdict:
		return taken
	case <-o.session.Done():
	case <-ctx.Done():
	}
	return false
}

// open is false if the node is down, or does not know the queue.
func (w *way) open(ctx context.Context, queue string) (o outlet, ok bool) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return o, false
	}
	if time.Since(w.down) < unknownFor || !w.knows(queue) {
		return o, false
	}
	o, err := w.lane.open(ctx)
	if err != nil {
		w.down = time.Now()
	}
	return o, err == nil
}

// knows is false of a queue that the node did not know a moment ago.
func (w *way) knows(queue string) bool {
	at, missed := w.unknown.Get(queue)
	return !missed || time.Since(at) >= unknownFor
}

// onReturn has replies that found no queue go another way.
func (s *Server) onReturn(r *conn.Return) {
	switch {
	case r.Key == wire.ParkedQueue(s.service):
		s.parkedReturned.Add(1)
	default:
		s.strays.add(&r.Message)
	}
}

// unroutable counts a reply that nobody takes: its caller is gone. One that comes back finds the reply in the store.
func (s *Server) unroutable(m *conn.Message) {
	if !wire.SaysRunning(m) {
		s.stats.unroutable.Add(1)
	}
}

func (s *Server) rerouted(m *conn.Message) {
	if !wire.SaysRunning(m) {
		s.stats.rerouted.Add(1)
	}
	s.split.warn(context.Background(), s.opts.log, "the broker node of this server does not know a caller's queue, and another node does; "+
		"if that goes on, see rabbitmqctl cluster_status on each node", "service", s.service, "queue", m.Key)
}

package server

import "sync"

// gate says whether the server takes requests.
type gate struct {
	mu      sync.Mutex    // guards what follows
	closed  bool          // no requests
	changed chan struct{} // closed by the next change
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

func (g *gate) set(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == closed {
		return
	}
	g.closed = closed
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) state() (closed bool, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed, g.changed
}

// Pause makes the server take no more requests, for as long as something that it needs is down. What has not started is
// given back to the broker, for other servers; what runs goes on. Callers find other servers, or nobody. It returns at
// once, and does nothing if the server is paused; a server may be paused before it runs.
func (s *Server) Pause() { s.gate.set(true) }

// Resume ends a pause. Handlers that run since before the pause are not counted: until they end, requests may be taken that
// wait for a worker.
func (s *Server) Resume() { s.gate.set(false) }

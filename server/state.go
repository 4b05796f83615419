package server

import (
	"context"
	"time"
)

// A Phase is where a [Server] is in its life.
type Phase int

// The phases of a server. What comes after Draining is for good.
const (
	Waiting  Phase = iota // it takes no calls yet, or no more: there is no session, or the broker refuses what it needs
	Serving               // it takes calls
	Paused                // by Pause
	Draining              // it takes no more calls, and ends those that run
	Stopped               // Run has returned
)

// String returns the phase in lower case.
func (p Phase) String() string {
	return [...]string{"waiting", "serving", "paused", "draining", "stopped"}[p]
}

// State is what a [Server] is doing.
type State struct {
	Phase Phase
	Err   error     // while waiting: why it takes no calls, if it was tried
	Since time.Time // that it is in this phase
}

// State returns the present state. A broker that is frozen, or out of reach without a word, is taken for one that is there
// until a heartbeat is missed; see conn.WithHeartbeat.
func (s *Server) State() State {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.state
}

// enter is the one way to change the state.
func (s *Server) enter(p Phase, err error) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if p != s.state.Phase {
		s.state.Since = time.Now()
	}
	s.state.Phase, s.state.Err = p, err
}

// leave takes note of why it stopped to serve: the end of ctx, an error, or else a pause.
func (s *Server) leave(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
		s.enter(Draining, nil)
	case err != nil:
		s.enter(Waiting, err)
	default:
		s.enter(Paused, nil)
	}
}

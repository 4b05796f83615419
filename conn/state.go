package conn

import (
	"context"
	"time"
)

// A Phase is where a [Manager] is in its life.
type Phase int

// The phases of a manager.
const (
	Connecting Phase = iota // dialing, or waiting before the next dial
	Connected               // a session is live
	Closed                  // by Close
)

// String returns the phase in lower case.
func (p Phase) String() string { return [...]string{"connecting", "connected", "closed"}[p] }

// State is what a [Manager] is doing.
type State struct {
	Phase   Phase
	Addr    string // of the broker, without credentials, while connected
	Err     error  // while connecting: why the last session ended or the last dial failed
	Attempt int    // while connecting: dials that failed in a row
	Since   time.Time
}

// State returns the present state.
func (m *Manager) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Watch returns a channel with the present state and each later one. Who reads slowly misses states in between, never
// the last. The channel is closed when ctx ends.
func (m *Manager) Watch(ctx context.Context) <-chan State {
	c := make(chan State, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	c <- m.state
	m.watchers[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, c)
		close(c)
	})
	return c
}

// set is the one way to change the state. It reports whether it has: that the manager is closed is for good.
func (m *Manager) set(s State, live *session) bool {
	s.Since = time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Phase == Closed {
		return false
	}
	m.state, m.live = s, live
	close(m.changed)
	m.changed = make(chan struct{})
	for c := range m.watchers {
		select { // only set sends, under mu: after this there is room
		case <-c:
		default:
		}
		c <- s
	}
	return true
}

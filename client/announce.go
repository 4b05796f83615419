package client

import (
	"sync"
	"sync/atomic"
)

// An announcer tells a hook of events in their order. No lock is held meanwhile: the hook may look at, call and close what it
// is told of.
type announcer[T any] struct {
	hook func(T)     // nil: nobody is told
	news atomic.Bool // there may be events

	mu      sync.Mutex // guards what follows
	events  []T        // that are not told yet
	telling bool       // somebody tells them
}

// add takes note of an event, and calls nobody: it may be used under a lock.
func (a *announcer[T]) add(event T) {
	if a.hook == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, event)
	a.news.Store(true)
}

// tell tells all events. If somebody is at it, and be it a hook that has come here, he goes on with them.
func (a *announcer[T]) tell() {
	if !a.news.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.telling {
		return
	}
	a.telling = true
	defer func() { a.telling = false }()
	for len(a.events) > 0 {
		event := a.events[0]
		a.events = a.events[1:]
		a.tellOne(event)
	}
	a.news.Store(false)
}

// tellOne is called with the mutex locked, and unlocks it for the hook.
func (a *announcer[T]) tellOne(event T) {
	a.mu.Unlock()
	defer a.mu.Lock()
	a.hook(event)
}

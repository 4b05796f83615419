// Package table has a map for few keys that are read with each call.
package table

import (
	"maps"
	"sync"
	"sync/atomic"
)

// A Table keeps a value for each key, and grows only. To read it takes no lock, and each addition copies it: keys are few,
// and soon all there. The zero Table is empty. It is for any number of goroutines.
type Table[K comparable, V any] struct {
	current atomic.Pointer[map[K]*V]
	mu      sync.Mutex // held by who adds
}

// Get returns the value of a key, or nil.
func (t *Table[K, V]) Get(k K) *V { return t.All()[k] }

// Add returns the value of a key, which create makes if there is none. If there are most keys it returns nil.
func (t *Table[K, V]) Add(k K, most int, create func() *V) *V {
	if v := t.Get(k); v != nil {
		return v
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.All()
	switch {
	case old[k] != nil:
		return old[k]
	case len(old) >= most:
		return nil
	}
	next := make(map[K]*V, len(old)+1)
	maps.Copy(next, old)
	next[k] = create()
	t.current.Store(&next)
	return next[k]
}

// All returns what is there, not to be changed.
func (t *Table[K, V]) All() map[K]*V {
	if m := t.current.Load(); m != nil {
		return *m
	}
	return nil
}

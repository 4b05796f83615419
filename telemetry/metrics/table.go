package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
)

// A table keeps a value for each key. To read it takes no lock: keys are few, and soon all there.
type table[K comparable, V any] struct {
	current atomic.Pointer[map[K]*V]
	mu      sync.Mutex // held by who adds
}

// get returns the value of a key, or nil.
func (t *table[K, V]) get(k K) *V { return t.all()[k] }

// add returns the value of a key, which create makes if there is none. If there are most keys it returns nil.
func (t *table[K, V]) add(k K, most int, create func() *V) *V {
	if v := t.get(k); v != nil {
		return v
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.all()
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

// all returns what is there, not to be changed.
func (t *table[K, V]) all() map[K]*V {
	if m := t.current.Load(); m != nil {
		return *m
	}
	return nil
}

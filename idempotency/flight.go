package idempotency

import "sync"

// flights is what runs in this process, so that duplicates can wait for it. Whether
// another fingerprint is a mismatch, and of which of the two, is for the store to
// say: so it is another flight.
type flights struct {
	mu sync.Mutex               // guards m
	m  map[flight]chan struct{} // nil until somebody waits
}

type flight struct {
	key         Key
	fingerprint Fingerprint
}

// enter returns nil if the caller is the only one, and must leave; else a channel
// that is closed when that one leaves.
func (fs *flights) enter(f flight) <-chan struct{} {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	left, ok := fs.m[f]
	if ok && left == nil {
		left = make(chan struct{})
	}
	fs.m[f] = left // nil for the first
	return left
}

func (fs *flights) leave(f flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if left := fs.m[f]; left != nil {
		close(left)
	}
	delete(fs.m, f)
}

package idempotency

import "sync"

// flights is what runs in this process, so that duplicates can wait for it. Whether
// another fingerprint is a mismatch, and of which of the two, is for the store to
// say: so it is another flight.
type flights struct {
	mu sync.Mutex // guards m
	m  map[flight]chan struct{}
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
	if left, ok := fs.m[f]; ok {
		return left
	}
	fs.m[f] = make(chan struct{})
	return nil
}

func (fs *flights) leave(f flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	close(fs.m[f])
	delete(fs.m, f)
}

package idempotency

import (
	"hash/maphash"
	"sync"
)

// flights is what runs in this process, so that duplicates can wait for it. Whether
// another fingerprint is a mismatch, and of which of the two, is for the store to
// say: so it is another flight.
type flights struct {
	seed maphash.Seed

	mu sync.Mutex               // guards m
	m  map[uint64]chan struct{} // by hash: calls that share one wait for each other, too; nil until somebody waits
}

func newFlights() flights {
	return flights{seed: maphash.MakeSeed(), m: make(map[uint64]chan struct{})}
}

type flight struct {
	key         Key
	fingerprint Fingerprint
}

func (fs *flights) hash(f flight) uint64 { return maphash.Comparable(fs.seed, f) }

// enter returns nil if the caller is the only one, and must leave; else a channel
// that is closed when that one leaves.
func (fs *flights) enter(hash uint64) <-chan struct{} {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	left, ok := fs.m[hash]
	if ok && left == nil {
		left = make(chan struct{})
	}
	fs.m[hash] = left // nil for the first
	return left
}

func (fs *flights) leave(hash uint64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if left := fs.m[hash]; left != nil {
		close(left)
	}
	delete(fs.m, hash)
}

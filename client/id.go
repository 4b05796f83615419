package client

import (
	"crypto/rand"
	"sync"

	"github.com/google/uuid"
)

// ids makes call IDs, which nobody can guess: random UUIDs. It asks the system for many at a time, since that is what one
// costs.
type ids struct {
	mu   sync.Mutex // guards what follows
	left []byte     // random, not used yet
	room [64 * len(uuid.UUID{})]byte
}

func (s *ids) next() string {
	return s.draw().String()
}

func (s *ids) draw() (id uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) == 0 {
		rand.Read(s.room[:]) // never fails
		s.left = s.room[:]
	}
	copy(id[:], s.left)
	clear(s.left[:len(id)]) // no copy is left to be read
	s.left = s.left[len(id):]
	id[6] = id[6]&0x0f | 0x40 // RFC 9562: version 4,
	id[8] = id[8]&0x3f | 0x80 // variant 10
	return id
}

package bolt

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

const (
	maxGroup      = 1024          // operations that are written together, at most
	maxGroupBytes = 8 << 20       // in their records, about: the memory for a group is a small multiple of it
	maxWaiting    = 16 << 10      // operations
	maxOwed       = maxGroupBytes // of outcomes that could not be written: more calls would only add to them
)

var errClosed = errors.New("bolt: store is closed")

type kind uint8

const (
	begin kind = iota
	complete
	abandon
)

// op is an operation on one call.
type op struct {
	kind        kind
	id          callID
	fingerprint idempotency.Fingerprint // of begin
	fence       uint64                  // of all others
	record      []byte                  // of complete

	result  chan result // buffered 1
	settled atomic.Bool // it has its result, or whoever waited for it has left
}

// result is what an operation returns; all but err is that of a begin.
type result struct {
	state  idempotency.State
	fence  uint64
	claims int // above 0 if it is now the caller's
	record []byte
	err    error
}

// settle is true for the first who calls it: the committer, which has the result, or the caller, who leaves.
func (o *op) settle() bool { return o.settled.CompareAndSwap(false, true) }

// answer is false if nobody waits for the result any more.
func (o *op) answer(r result) bool {
	if !o.settle() {
		return false
	}
	o.result <- r
	return true
}

// undo returns the operation, which nobody waits for, that ends the claim of a begin.
func (o *op) undo(fence uint64) *op {
	u := &op{kind: abandon, id: o.id, fence: fence}
	u.settle()
	return u
}

// queue is the operations that wait for the committer.
type queue struct {
	wake chan struct{} // buffered 1: there are some, or it is closed

	mu     sync.Mutex // guards all below
	ops    []*op
	closed bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) put(o *op) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errClosed
	}
	// What ends a claim is always taken: there are no more of them than calls that run.
	if o.kind == begin && len(q.ops) >= maxWaiting {
		return refuse("too many calls wait for the disk", askAgainAfter)
	}
	q.ops = append(q.ops, o)
	q.signal()
	return nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// again has the operations be the first of the next group.
func (q *queue) again(ops []*op) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ops = append(ops, q.ops...)
	q.signal()
}

// take returns the next group, without the begins whose callers have left, and whether it is the last one. It is empty
// if nothing waits.
func (q *queue) take() (group []*op, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for ; n < len(q.ops) && len(group) < maxGroup && bytes < maxGroupBytes; n++ {
		if o := q.ops[n]; o.kind != begin || !o.settled.Load() {
			group = append(group, o)
			bytes += len(o.record)
		}
	}
	q.ops = append(q.ops[:0:0], q.ops[n:]...)
	if len(q.ops) > 0 {
		q.signal()
	}
	return group, q.closed && len(q.ops) == 0
}

package bolt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Store implements [idempotency.Store]. A method whose context ends returns soon, with the error of the context.
type Store struct {
	entries        int
	bytes          int64
	minAge, maxAge time.Duration

	path    string
	opened  time.Time     // by the clock of the system
	ahead   time.Duration // of that the file was: the clock has been set back
	db      *bbolt.DB
	update  func(func(*bbolt.Tx) error) error // db.Update, unless a test breaks it
	queue   *queue
	owed    atomic.Int64 // bytes of outcomes that could not be written yet
	durable atomic.Int64 // the last transaction that is on disk for sure
	wg      sync.WaitGroup
	close   func() error

	mu    sync.Mutex // guards stats
	stats Stats
}

// Stats counts since the file was opened, except for Entries and Bytes, which are as of now.
type Stats struct {
	Entries   int    // calls that run, outcomes, and orphans that nobody has asked for
	Bytes     int64  // of the file that are in use
	Hits      uint64 // Begins for a call that is known
	Misses    uint64 // Begins answered with New
	Orphans   uint64 // Begins answered with Orphaned
	Evictions uint64 // outcomes and orphans forgotten, for age or for room
	Shed      uint64 // Begins for a new call, refused
	Commits   uint64 // groups of operations that were written
	Failures  uint64 // groups that could not be
}

// Open opens the file, or makes it, with mode 0600. It may take a while if much of the file is free: it is then copied
// to a smaller one beside it, which takes its place. Beside it is also who has it open, for the error of whoever else
// tries.
//
// It returns an error if an option is out of range: entries, bytes and the maximum age must be positive, the minimum
// age from 0 to the maximum.
func Open(path string, options ...Option) (*Store, error) {
	s, err := newStore(options)
	if err != nil {
		return nil, err
	}
	if err := s.open(path); err != nil {
		return nil, fmt.Errorf("open idempotency file %s: %w", path, err)
	}
	s.close = sync.OnceValue(s.shut)
	s.wg.Go(s.commitAll)
	return s, nil
}

// Check returns the error that [Open] would return for its options.
func Check(options ...Option) error {
	_, err := newStore(options)
	return err
}

func newStore(options []Option) (*Store, error) {
	s := &Store{entries: 1_000_000, bytes: 1 << 30, minAge: time.Minute, maxAge: 24 * time.Hour, queue: newQueue()}
	for _, option := range options {
		option(s)
	}
	if s.entries <= 0 || s.bytes <= 0 || s.maxAge <= 0 {
		return nil, fmt.Errorf("bolt: entries %d, bytes %d and maximum age %v must be positive", s.entries, s.bytes, s.maxAge)
	}
	if s.minAge < 0 || s.minAge > s.maxAge {
		return nil, fmt.Errorf("bolt: minimum age %v is not from 0 to the maximum %v", s.minAge, s.maxAge)
	}
	return s, nil
}

// Close writes what waits to be written, and releases the file. Operations after it fail. A call that still runs is
// Orphaned for the next process.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	s.queue.close()
	s.wg.Wait()
	_ = os.Remove(holderFile(s.path)) // before another can write its own
	return s.db.Close()
}

// Begin implements [idempotency.Store]. An outcome that is known is read without waiting for the disk. If ctx ends while
// the claim is written, it is given back.
func (s *Store) Begin(
	ctx context.Context, key idempotency.Key, fingerprint idempotency.Fingerprint,
) (idempotency.Begun, error) {
	if err := ctx.Err(); err != nil {
		return idempotency.Begun{}, err
	}
	o := newOp(begin, key)
	o.fingerprint = fingerprint
	r, known := s.recall(o)
	if !known {
		r = s.do(ctx, o)
	}
	s.count(r)
	if r.err != nil {
		return idempotency.Begun{}, r.err
	}
	begun := idempotency.Begun{State: r.state, Claims: r.claims}
	if r.claims > 0 {
		begun.Token = idempotency.Token{Key: key, Fence: r.fence}
	}
	if r.state == idempotency.Done {
		var err error
		if begun.Record, err = parseRecord(r.record); err != nil {
			return idempotency.Begun{}, damaged(err)
		}
	}
	return begun, nil
}

// Complete implements [idempotency.Store]. After an error other than ErrLost, that of ctx included, the record is
// written as soon as possible, unless the process ends before.
func (s *Store) Complete(ctx context.Context, token idempotency.Token, record *idempotency.Record) error {
	o := newOp(complete, token.Key)
	o.fence = token.Fence
	if o.record = appendRecord(nil, record); len(o.record) > maxRecord {
		return fmt.Errorf("bolt: record of %d bytes, at most %d can be stored", len(o.record), maxRecord)
	}
	return s.do(ctx, o).err
}

// Abandon implements [idempotency.Store]. After an error other than ErrLost it is done as soon as possible.
func (s *Store) Abandon(ctx context.Context, token idempotency.Token) error {
	o := newOp(abandon, token.Key)
	o.fence = token.Fence
	return s.do(ctx, o).err
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func newOp(k kind, key idempotency.Key) *op {
	return &op{kind: k, id: sha256.Sum256(key.Bytes()), result: make(chan result, 1)}
}

// do has the operation done with the next group.
func (s *Store) do(ctx context.Context, o *op) result {
	if o.kind == begin && s.owed.Load() > maxOwed {
		return result{err: refuse("too many outcomes wait for the disk", retryEvery)}
	}
	if err := s.queue.put(o); err != nil {
		return result{err: err}
	}
	select {
	case r := <-o.result:
		return r
	case <-ctx.Done():
		if o.settle() {
			return result{err: ctx.Err()}
		}
		return <-o.result
	}
}

// recall answers a Begin for a call that is done, if it can without the committer.
func (s *Store) recall(o *op) (r result, known bool) {
	err := safely(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			// What a reader sees may not be on disk yet, and a power loss could take it back.
			if int64(tx.ID()) > s.durable.Load() {
				return nil
			}
			e, err := get(tx.Bucket(callsBucket), o.id)
			if err != nil || e == nil || e.state != done || s.expired(e, s.now()) {
				return err
			}
			r, known = e.recall(o.fingerprint), true
			return nil
		})
	})
	if errors.Is(err, errDamaged) {
		return result{err: damaged(err)}, true
	}
	return r, known && err == nil
}

// now is the time by which entries age. What has passed since Open is monotonic: a clock that is set meanwhile makes nothing
// old, and one that is set back before Open makes nothing that is in the file younger than what comes.
func (s *Store) now() time.Time { return s.opened.Add(s.ahead + time.Since(s.opened)) }

// count counts the answer of a Begin.
func (s *Store) count(r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case rpc.CodeOf(r.err) == rpc.ResourceExhausted:
		s.stats.Shed++
	case r.err != nil:
	case r.state == idempotency.New:
		s.stats.Misses++
	case r.state == idempotency.Orphaned:
		s.stats.Orphans++
	default:
		s.stats.Hits++
	}
}

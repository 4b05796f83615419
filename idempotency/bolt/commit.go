package bolt

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
)

// retryEvery is how often the committer tries again to write what could not be written.
const retryEvery = time.Second

// commitAll writes groups until the queue is closed and empty. There is no delay: a group is what has come while the
// one before it was written.
func (s *Store) commitAll() {
	var owed []*op
	var retry <-chan time.Time
	for last := false; !last; {
		s.owed.Store(bytesOf(owed))
		if retry == nil && len(owed) > 0 {
			retry = time.After(retryEvery)
		}
		select {
		case <-s.queue.wake:
		case <-retry:
			owed, retry = s.retry(owed), nil
		}
		var ops []*op
		if ops, last = s.queue.take(); len(ops) > 0 {
			next, failed, _ := s.commit(ops)
			owed = append(owed, failed...)
			if len(next) > 0 {
				s.queue.again(next)
				last = false
			}
		}
	}
	s.retry(owed)
}

func bytesOf(ops []*op) (n int64) {
	for _, o := range ops {
		n += int64(len(o.record))
	}
	return n
}

// retry writes what is owed, and returns what still is. It goes one by one, since what is too large for the disk must
// not hold up the rest; what has failed is the last the next time.
func (s *Store) retry(owed []*op) []*op {
	for range owed {
		next, failed, err := s.commit(owed[:1])
		owed = append(owed[1:], append(next, failed...)...)
		if err != nil {
			break
		}
	}
	return owed
}

// commit writes the operations in one transaction, and answers them. What is next gives back claims that nobody took;
// owed are the ends of claims that failed.
func (s *Store) commit(ops []*op) (next, owed []*op, err error) {
	results, made, err := s.write(ops)
	isDamaged := errors.Is(err, errDamaged)
	if isDamaged && len(ops) > 1 {
		for _, o := range ops { // those that do not meet the damage must not fail with the one that does
			n, f, _ := s.commit([]*op{o})
			next, owed = append(next, n...), append(owed, f...)
		}
		return next, owed, nil
	}
	for i, o := range ops {
		r := results[i]
		if err != nil {
			r.err = err
		}
		taken := o.answer(r) && err == nil
		switch {
		case o.kind == begin && r.claims > 0 && made && !taken:
			next = append(next, o.undo(r.fence))
		case o.kind != begin && err != nil && !isDamaged:
			owed = append(owed, o)
		}
	}
	return next, owed, err
}

// errUnchanged rolls a transaction back that nothing came of.
var errUnchanged = errors.New("nothing changed")

// write does the operations in one transaction, and returns once it is on disk. After an error the results are what
// they would have been, and made says whether the changes can be seen all the same: only the last sync failed.
func (s *Store) write(ops []*op) (results []result, made bool, err error) {
	results = make([]result, len(ops))
	var g *group
	err = safely(func() error {
		return s.update(func(tx *bbolt.Tx) (err error) {
			if g, err = s.group(tx); err != nil {
				return err
			}
			for i, o := range ops {
				if results[i], err = g.do(o); err != nil {
					return err
				}
			}
			if err := g.sweep(2*len(ops) + 8); err != nil {
				return err
			}
			// After a commit whose last sync failed, what is seen may not be on disk.
			if !g.changed && g.id == s.durable.Load()+1 {
				return errUnchanged
			}
			return g.save()
		})
	})
	unchanged := errors.Is(err, errUnchanged)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case unchanged:
		return results, true, nil
	case err != nil:
		s.stats.Failures++
		return results, g != nil && s.newest() >= g.id, fmt.Errorf("write idempotency file: %w", err)
	}
	s.durable.Store(g.id)
	s.stats.Commits++
	s.stats.Evictions += g.evicted
	s.stats.Entries, s.stats.Bytes = int(g.size), g.used
	failpoint.Hit("bolt-committed")
	return results, true, nil
}

// newest returns the number of the last transaction that can be seen.
func (s *Store) newest() (id int64) {
	_ = safely(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			id = int64(tx.ID())
			return nil
		})
	})
	return id // 0 if the map of the file is gone: then nothing can be written any more
}

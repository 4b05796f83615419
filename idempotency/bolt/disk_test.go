package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

// update is what stands in for that of bbolt.
type update func(fn func(*bbolt.Tx) error) error

// set has each commit from the next one on go through u.
func (s store) set(u update) { s.hook.Store(&u) }

// works ends all faults.
func (s store) works() { s.set(s.db.Update) }

var errDisk = errors.New("no space left on device")

// notWritten has the disk fail before anything is written.
func (s store) notWritten() {
	s.set(func(fn func(*bbolt.Tx) error) error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			return errDisk
		})
	})
}

// notSynced has the disk fail at the last sync of each commit.
func (s store) notSynced() {
	s.set(func(fn func(*bbolt.Tx) error) error {
		if err := s.db.Update(fn); err != nil {
			return err
		}
		return errDisk
	})
}

// The disk fails and comes back: nothing runs meanwhile, and what had run is not forgotten.
func TestDiskFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(store)
	}{
		{"before it is written", store.notWritten},
		{"at the last sync", store.notSynced},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := newFile(t)
			s := open(t, path)
			claimed, left := s.want(1, idempotency.New).Token, s.want(2, idempotency.New).Token
			tt.fail(s)
			for range 3 {
				if begun, err := s.Begin(t.Context(), key(3), fingerprint); !errors.Is(err, errDisk) {
					t.Errorf("Begin = state %d, %v, want the disk's error", begun.State, err)
				}
			}
			if err := s.Complete(t.Context(), claimed, reply(1)); !errors.Is(err, errDisk) {
				t.Errorf("Complete = %v, want the disk's error", err)
			}
			if err := s.Abandon(t.Context(), left); !errors.Is(err, errDisk) {
				t.Errorf("Abandon = %v, want the disk's error", err)
			}
			if begun, err := s.Begin(t.Context(), key(1), fingerprint); err == nil && begun.State != idempotency.InFlight {
				t.Errorf("Begin = state %d of an outcome that may not be on disk", begun.State)
			}
			s.works()
			s.want(3, idempotency.New)
			s.becomes(1, idempotency.Done)
			s.wantReply(1)
			s.becomes(2, idempotency.New)
			if got := s.Stats(); got.Entries != 3 || got.Failures < 5 {
				t.Errorf("stats = %+v, want 3 entries, 5 failures or more", got)
			}
		})
	}
}

// A claim whose group could not be written is not given back later: by then its fence may be that of another.
func TestFenceOfAFailedClaim(t *testing.T) {
	s := open(t, newFile(t))
	s.notSynced() // so that what is seen is ahead of what is on disk for sure
	_, _ = s.Begin(t.Context(), key(1), fingerprint)
	s.notWritten()
	_, _ = s.Begin(t.Context(), key(2), fingerprint)
	time.Sleep(50 * time.Millisecond) // for what would follow it at once to fail too
	s.works()
	token := s.want(2, idempotency.New).Token
	s.run(3)
	time.Sleep(retryEvery + retryEvery/4)
	s.want(2, idempotency.InFlight)
	s.complete(2, token)
	s.want(1, idempotency.New)
}

// What is too large for the disk does not hold up the rest.
func TestOneThatCannotBeWritten(t *testing.T) {
	s := open(t, newFile(t))
	claimed, other := s.want(1, idempotency.New).Token, s.want(2, idempotency.New).Token
	s.notWritten()
	for n, token := range []idempotency.Token{claimed, other} {
		if err := s.Complete(t.Context(), token, reply(1+n)); !errors.Is(err, errDisk) {
			t.Errorf("Complete = %v, want the disk's error", err)
		}
	}
	s.set(func(fn func(*bbolt.Tx) error) error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			if id := newOp(begin, key(1)).id; tx.Bucket(callsBucket).Get(id[:]) != nil {
				return errDisk
			}
			return nil
		})
	})
	s.run(3)
	s.becomes(2, idempotency.Done)
	s.want(1, idempotency.InFlight)
}

// Nor does it wait for a moment in which nothing else is to be written.
func TestRetriesUnderLoad(t *testing.T) {
	s := open(t, newFile(t))
	token := s.want(1, idempotency.New).Token
	s.notWritten()
	if err := s.Complete(t.Context(), token, reply(1)); !errors.Is(err, errDisk) {
		t.Errorf("Complete = %v, want the disk's error", err)
	}
	s.works()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				_, _ = s.Begin(ctx, key(1000+4*n+worker), fingerprint)
			}
		})
	}
	s.becomes(1, idempotency.Done)
	cancel()
	wg.Wait()
}

// An outcome that could not be written is, without anybody asking.
func TestRetriesByItself(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	token := s.want(1, idempotency.New).Token
	failures := 2
	s.set(func(fn func(*bbolt.Tx) error) error {
		if failures--; failures >= 0 {
			return errDisk
		}
		return s.db.Update(fn)
	})
	if err := s.Complete(t.Context(), token, reply(1)); !errors.Is(err, errDisk) {
		t.Errorf("Complete = %v, want the disk's error", err)
	}
	s.eventually("a second commit", func() bool { return s.Stats().Commits == 2 })
	s.wantReply(1)
}

// What is seen, but may not be on disk, is not answered: it is that way while a commit has its last sync, and after that
// failed until the next commit, which there must then be.
func TestNothingIsAnsweredBeforeItIsOnDisk(t *testing.T) {
	s := open(t, newFile(t))
	token := s.want(1, idempotency.New).Token
	written, synced := make(chan struct{}), make(chan struct{})
	commits := 0
	s.set(func(fn func(*bbolt.Tx) error) error {
		err := s.db.Update(fn)
		if commits++; commits == 1 && err == nil {
			close(written)
			<-synced
			return errDisk
		}
		return err
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Complete(t.Context(), token, reply(1)); !errors.Is(err, errDisk) {
			t.Errorf("Complete = %v, want the disk's error", err)
		}
	})
	<-written
	wg.Go(func() { s.wantReply(1) })
	s.waiting(1)
	close(synced)
	wg.Wait()
	if commits != 2 || s.Stats().Commits != 2 {
		t.Errorf("%d commits, want one that failed and one to be sure", commits)
	}
}

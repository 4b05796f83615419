package bolt

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// damage changes what is stored of a call.
func damage(t *testing.T, path string, bucket []byte, n int, value []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	id := newOp(begin, key(n)).id
	err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(id[:], value) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedEntry(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	s.run(1)
	s.run(2)
	s.run(3)
	s.want(4, idempotency.New)
	s.close()
	damage(t, path, callsBucket, 1, []byte("garbage"))
	damage(t, path, callsBucket, 2, (&entry{state: done, at: time.Now(), fingerprint: fingerprint, record: []byte{9}}).bytes())
	damage(t, path, runningBucket, 4, nil)
	s = open(t, path)
	for _, n := range []int{1, 2, 4} {
		begun, err := s.Begin(t.Context(), key(n), fingerprint)
		if rpc.CodeOf(err) != rpc.DataLoss || rpc.Executed(err) != rpc.ExecutedUnknown || !errors.Is(err, errDamaged) {
			t.Errorf("Begin(%d) = state %d, %v, want data_loss, unknown", n, begun.State, err)
		}
	}
	s.wantReply(3)
	s.run(5)
	// It goes like all others.
	err := s.db.View(func(tx *bbolt.Tx) error {
		if ages, calls := tx.Bucket(agesBucket).Stats().KeyN, tx.Bucket(callsBucket).Stats().KeyN; ages != calls {
			t.Errorf("%d ages of %d calls", ages, calls)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A page that bbolt cannot read is met by one call of a group: the others do not fail.
func TestDamagedPage(t *testing.T) {
	s := open(t, newFile(t))
	stalled, release := s.stall()
	defer release()
	var wg sync.WaitGroup
	wg.Go(func() { s.want(0, idempotency.New) })
	<-stalled
	wg.Go(func() {
		if begun, err := s.Begin(t.Context(), key(1), fingerprint); !errors.Is(err, errDamaged) {
			t.Errorf("Begin = state %d, %v, want that it is damaged", begun.State, err)
		}
	})
	for n := range 5 {
		wg.Go(func() { s.want(2+n, idempotency.New) })
	}
	s.waiting(6)
	s.set(func(fn func(*bbolt.Tx) error) error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			err := fn(tx)
			if id := newOp(begin, key(1)).id; tx.Bucket(runningBucket).Get(id[:]) != nil {
				panic("page 7: assertion failed")
			}
			return err
		})
	})
	release()
	wg.Wait()
}

// Garbage anywhere in the file makes calls fail, or the file, but neither panics nor makes a wrong reply.
func TestGarbage(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	for n := range 300 {
		s.run(n)
	}
	s.close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		text := append([]byte{}, whole...)
		// Not in the first pages: they have checksums. Nor in the part of a page where its type and size are, since
		// bbolt may follow pages in a circle.
		for range 1 + random.IntN(5) {
			page := 2 + random.IntN(len(text)/4096-2)
			at := page*4096 + 16 + random.IntN(4096-16-8)
			for i := range 1 + random.IntN(8) {
				text[at+i] = byte(random.Uint32())
			}
		}
		damagedFile := newFile(t)
		if err := os.WriteFile(damagedFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		failed += tryGarbage(t, damagedFile)
	}
	if failed == 0 {
		t.Error("no garbage was met: that proves nothing")
	}
}

func tryGarbage(t *testing.T, path string) (failed int) {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		return 1
	}
	defer s.Close()
	for n := range 310 {
		begun, err := s.Begin(t.Context(), key(n), fingerprint)
		switch {
		case err != nil:
			failed++
		case begun.State == idempotency.Done:
			if got, want := string(begun.Record.Reply.Body), string(reply(n).Reply.Body); got != want {
				t.Errorf("reply = %q, want %q", got, want)
			}
		case begun.State == idempotency.New:
			if s.Complete(t.Context(), begun.Token, reply(n)) != nil {
				failed++
			}
		}
	}
	return failed
}

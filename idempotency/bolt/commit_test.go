package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// stall has the next commit tell stalled, and wait for release.
func (s store) stall() (stalled <-chan struct{}, release func()) {
	at, gate := make(chan struct{}, 1), make(chan struct{})
	s.set(func(fn func(*bbolt.Tx) error) error {
		select {
		case at <- struct{}{}:
		default:
		}
		<-gate
		return s.db.Update(fn)
	})
	return at, sync.OnceFunc(func() { close(gate) })
}

// eventually waits until it is so.
func (s store) eventually(what string, so func() bool) {
	s.t.Helper()
	for start := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			s.t.Fatalf("never: %s", what)
		}
	}
}

// becomes waits until the call is in that state.
func (s store) becomes(n int, want idempotency.State) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d is in state %d", n, want), func() bool {
		begun, err := s.Begin(context.Background(), key(n), fingerprint)
		return err == nil && begun.State == want
	})
}

// waiting waits until n operations wait for the committer.
func (s store) waiting(n int) {
	s.t.Helper()
	s.eventually(fmt.Sprint(n, " operations wait"), func() bool {
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		return len(s.queue.ops) >= n
	})
}

// What waits while one group is written is the next group.
func TestCommitsAreGrouped(t *testing.T) {
	s := open(t, newFile(t))
	stalled, release := s.stall()
	defer release()
	const n = maxGroup + 100
	var wg sync.WaitGroup
	for i := range n {
		if i == 1 {
			<-stalled
		}
		wg.Go(func() { s.want(i, idempotency.New) })
	}
	s.waiting(n - 1)
	release()
	wg.Wait()
	if got := s.Stats().Commits; got != 3 {
		t.Errorf("%d commits for 1, %d and %d operations, want 3", got, maxGroup, n-1-maxGroup)
	}
}

func TestGroupsAreBoundedInBytes(t *testing.T) {
	q := newQueue()
	for range 5 {
		if err := q.put(&op{kind: complete, record: make([]byte, maxGroupBytes/2)}); err != nil {
			t.Fatal(err)
		}
	}
	left := newOp(begin, key(1))
	left.settle()
	if err := q.put(left); err != nil {
		t.Fatal(err)
	}
	q.close()
	for i, want := range []int{2, 2, 1} {
		if got, last := q.take(); len(got) != want || last != (i == 2) {
			t.Fatalf("group of %d, last %t, want %d, last %t", len(got), last, want, i == 2)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	s := open(t, newFile(t))
	token := s.want(0, idempotency.New).Token
	stalled, release := s.stall()
	defer release()
	var wg sync.WaitGroup
	wg.Go(func() { s.want(1, idempotency.New) })
	<-stalled
	for n := range maxWaiting {
		o := newOp(begin, key(10+n))
		if err := s.queue.put(o); err != nil {
			t.Fatal(err)
		}
		o.settle() // or it would take a while
	}
	_, err := s.Begin(t.Context(), key(2), fingerprint)
	if rpc.CodeOf(err) != rpc.ResourceExhausted || rpc.Executed(err) != rpc.ExecutedNo || s.Stats().Shed != 1 {
		t.Errorf("Begin = %v, want resource_exhausted, not executed, and counted", err)
	}
	wg.Go(func() { s.complete(0, token) }) // what ends a claim is always taken
	s.waiting(maxWaiting + 1)
	release()
	wg.Wait()
}

// A question about a call that runs changes nothing, and needs no commit.
func TestQuestionsAreNotWritten(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	token := s.want(1, idempotency.New).Token
	s.want(1, idempotency.InFlight)
	s.complete(1, token)
	s.wantReply(1)
	if got := s.Stats(); got.Commits != 2 || got.Misses != 1 || got.Hits != 2 {
		t.Errorf("stats = %+v, want 2 commits, 1 miss, 2 hits", got)
	}
	s.close()
	s = open(t, path)
	s.notWritten()
	s.wantReply(1)
}

func TestContextEndsWhileWaiting(t *testing.T) {
	for _, tt := range []struct {
		name  string
		early bool // it ends before the group is taken, else while it is written
	}{{"before its group", true}, {"while its group is written", false}} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, newFile(t))
			claimed, left := s.want(1, idempotency.New).Token, s.want(2, idempotency.New).Token
			stalled, release := s.stall()
			defer release()
			var wg sync.WaitGroup
			if tt.early {
				wg.Go(func() { s.want(9, idempotency.New) })
				<-stalled
			}
			ctx, cancel := context.WithCancel(t.Context())
			errs := make(chan error, 3)
			go func() {
				_, err := s.Begin(ctx, key(3), fingerprint)
				errs <- err
			}()
			if !tt.early {
				<-stalled
			}
			go func() { errs <- s.Complete(ctx, claimed, reply(1)) }()
			go func() { errs <- s.Abandon(ctx, left) }()
			if tt.early {
				s.waiting(3)
			} else {
				s.waiting(2)
			}
			cancel()
			for range 3 {
				if err := <-errs; !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want the context's error", err)
				}
			}
			release()
			wg.Wait()
			s.want(3, idempotency.New) // not in flight: its claim was given back, or never made
			s.wantReply(1)
			s.want(2, idempotency.New)
		})
	}
}

func TestContextHasEnded(t *testing.T) {
	s := open(t, newFile(t))
	s.run(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 3 {
		if begun, err := s.Begin(ctx, key(n), fingerprint); !errors.Is(err, context.Canceled) {
			t.Errorf("Begin(%d) = state %d, %v, want the context's error", n, begun.State, err)
		}
	}
	if got := s.Stats().Commits; got != 2 {
		t.Errorf("%d commits, want 2", got)
	}
}

// A claim on an orphan that nobody took leaves an orphan, with as many claims as before.
func TestOrphanIsGivenBack(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	s.want(1, idempotency.New)
	s.close()
	s = open(t, path)
	stalled, release := s.stall()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.Begin(ctx, key(1), fingerprint)
		failed <- err
	}()
	<-stalled
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Begin = %v, want the context's error", err)
	}
	release()
	if begun := s.want(1, idempotency.Orphaned); begun.Claims != 2 {
		t.Errorf("claims = %d, want 2", begun.Claims)
	}
	if got := s.Stats().Entries; got != 1 {
		t.Errorf("entries = %d, want 1", got)
	}
}

// A claim that is given back does not wait for another operation.
func TestGivesBackAtOnce(t *testing.T) {
	s := open(t, newFile(t))
	stalled, release := s.stall()
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		_, _ = s.Begin(ctx, key(1), fingerprint)
	}()
	<-stalled
	cancel()
	<-cancelled
	release()
	s.eventually("a second commit", func() bool { return s.Stats().Commits == 2 })
	if got := s.Stats().Entries; got != 0 {
		t.Errorf("entries = %d, want 0", got)
	}
}

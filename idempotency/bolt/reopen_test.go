package bolt

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

func TestReopen(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	s.run(1)
	ran := s.want(2, idempotency.New)
	abandoned := s.want(3, idempotency.New)
	if err := s.Abandon(t.Context(), abandoned.Token); err != nil {
		t.Fatal(err)
	}
	s.want(4, idempotency.New)
	s.close()

	s = open(t, path)
	s.wantReply(1)
	if err := s.Complete(t.Context(), ran.Token, reply(2)); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("Complete of a claim of the process before = %v, want ErrLost", err)
	}
	orphan := s.want(2, idempotency.Orphaned)
	if orphan.Claims != 2 {
		t.Errorf("claims = %d, want 2", orphan.Claims)
	}
	s.want(2, idempotency.InFlight)
	if err := s.Complete(t.Context(), ran.Token, reply(2)); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("Complete of a claim that was taken over = %v, want ErrLost", err)
	}
	s.want(3, idempotency.New)
	if begun, err := s.Begin(t.Context(), key(4), idempotency.Fingerprint{}); err != nil || begun.State != idempotency.Mismatch {
		t.Errorf("Begin of an orphan with another payload = state %d, %v, want mismatch", begun.State, err)
	}
	s.close()

	s = open(t, path)
	s.wantReply(1)
	again := s.want(2, idempotency.Orphaned)
	if again.Claims != 3 {
		t.Errorf("claims = %d, want 3", again.Claims)
	}
	s.complete(2, again.Token)
	orphan = s.want(4, idempotency.Orphaned)
	if orphan.Claims != 2 {
		t.Errorf("claims = %d for an orphan that nobody asked for in between, want 2", orphan.Claims)
	}
	if err := s.Abandon(t.Context(), orphan.Token); err != nil {
		t.Fatal(err)
	}
	if begun := s.want(4, idempotency.Orphaned); begun.Claims != 2 {
		t.Errorf("claims = %d after Abandon, want 2", begun.Claims)
	}
	s.close()

	s = open(t, path)
	s.wantReply(2)
	if got := s.Stats().Entries; got != 4 {
		t.Errorf("entries = %d, want 4", got)
	}
}

func TestFencesNeverRepeat(t *testing.T) {
	path := newFile(t)
	seen := map[uint64]bool{}
	for range 3 {
		s := open(t, path)
		for range 3 {
			token := s.want(1, idempotency.New).Token
			if seen[token.Fence] {
				t.Errorf("fence %d again", token.Fence)
			}
			seen[token.Fence] = true
			if err := s.Abandon(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		s.close()
	}
}

func TestCloseEndsAll(t *testing.T) {
	s := open(t, newFile(t))
	s.run(1)
	token := s.want(2, idempotency.New).Token
	for range 2 {
		s.close()
	}
	for _, n := range []int{1, 3} {
		if _, err := s.Begin(t.Context(), key(n), fingerprint); !errors.Is(err, errClosed) {
			t.Errorf("Begin = %v after Close, want %v", err, errClosed)
		}
	}
	if err := s.Complete(t.Context(), token, reply(2)); !errors.Is(err, errClosed) {
		t.Errorf("Complete = %v after Close, want %v", err, errClosed)
	}
}

// What waits when Close is called is written, though its callers may have left.
func TestCloseWritesWhatWaits(t *testing.T) {
	path := newFile(t)
	s := open(t, path)
	token := s.want(1, idempotency.New).Token
	stalled, release := s.stall()
	blocker := make(chan error, 1)
	go func() {
		_, err := s.Begin(context.Background(), key(2), fingerprint)
		blocker <- err
	}()
	<-stalled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Complete(ctx, token, reply(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Complete = %v, want the context's error", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
		t.Error("Close returned while a group was written")
	case <-time.After(50 * time.Millisecond):
	}
	release()
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-blocker; err != nil {
		t.Errorf("Begin: %v", err)
	}
	open(t, path).wantReply(1)
}

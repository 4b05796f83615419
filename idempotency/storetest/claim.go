package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

func testLife(t *testing.T, s store) {
	begun := s.begin(t, key, fingerprint, idempotency.New)
	s.begin(t, key, fingerprint, idempotency.InFlight)
	s.begin(t, key, fingerprint, idempotency.InFlight)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatalf("Complete: %v", err)
	}
	s.wantReply(t, key, "x")
	s.wantReply(t, key, "x")
}

// A context that is bound adds to the one that it is made from.
func testBind(t *testing.T, s store) {
	type name struct{}
	begun := s.begin(t, key, fingerprint, idempotency.New)
	if begun.Bind == nil {
		t.Skip("binds nothing")
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), name{}, "value"))
	bound := begun.Bind(ctx)
	if bound.Value(name{}) != "value" || bound.Err() != nil {
		t.Errorf("bound context has value %v and error %v, want those of the one it is made from", bound.Value(name{}), bound.Err())
	}
	cancel()
	if bound.Err() == nil {
		t.Error("bound context goes on after the one that it is made from")
	}
}

func testMismatch(t *testing.T, s store) {
	begun := s.begin(t, key, fingerprint, idempotency.New)
	s.begin(t, key, other, idempotency.Mismatch)
	s.begin(t, key, fingerprint, idempotency.InFlight)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatalf("Complete after a mismatch: %v", err)
	}
	s.begin(t, key, other, idempotency.Mismatch)
	s.wantReply(t, key, "x")
}

func testAbandon(t *testing.T, s store) {
	begun := s.begin(t, key, fingerprint, idempotency.New)
	if err := s.Abandon(t.Context(), begun.Token); err != nil {
		t.Fatalf("Abandon: %v", err)
	}
	// It did not run: even another payload is not a mismatch.
	begun = s.begin(t, key, other, idempotency.New)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatalf("Complete: %v", err)
	}
	s.begin(t, key, other, idempotency.Done)
}

func (s store) wantLost(t *testing.T, token idempotency.Token) {
	t.Helper()
	if err := s.Complete(t.Context(), token, reply("loser")); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("Complete = %v, want ErrLost", err)
	}
	if err := s.Abandon(t.Context(), token); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("Abandon = %v, want ErrLost", err)
	}
}

func testEndedClaim(t *testing.T, s store) {
	begun := s.begin(t, key, fingerprint, idempotency.New)
	if err := s.Complete(t.Context(), begun.Token, reply("winner")); err != nil {
		t.Fatalf("Complete: %v", err)
	}
	s.wantLost(t, begun.Token)
	s.wantReply(t, key, "winner")
}

func testClaimOfAnother(t *testing.T, s store) {
	lost := s.begin(t, key, fingerprint, idempotency.New)
	if err := s.Abandon(t.Context(), lost.Token); err != nil {
		t.Fatalf("Abandon: %v", err)
	}
	s.wantLost(t, lost.Token)
	winner := s.begin(t, key, fingerprint, idempotency.New)
	s.wantLost(t, lost.Token)
	s.begin(t, key, fingerprint, idempotency.InFlight)
	if err := s.Complete(t.Context(), winner.Token, reply("winner")); err != nil {
		t.Fatalf("Complete: %v", err)
	}
	s.wantLost(t, lost.Token)
	s.wantReply(t, key, "winner")
}

func testForgedToken(t *testing.T, s store) {
	begun := s.begin(t, key, fingerprint, idempotency.New)
	for _, forged := range []idempotency.Token{
		{Key: key, Fence: begun.Token.Fence + 1},
		{Key: key, Fence: begun.Token.Fence - 1},
		{Key: numbered(2), Fence: begun.Token.Fence},
		{},
	} {
		s.wantLost(t, forged)
	}
	s.begin(t, key, fingerprint, idempotency.InFlight)
	s.begin(t, numbered(2), fingerprint, idempotency.New)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatalf("Complete: %v", err)
	}
	s.wantReply(t, key, "x")
}

// soon is when a method must have returned whose context has ended. It is generous: the machine may be busy.
const soon = 10 * time.Second

// returns fails the test if f does not return soon.
func returns(t *testing.T, f func()) {
	t.Helper()
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		f()
	}()
	select {
	case <-returned:
	case <-time.After(soon):
		t.Fatalf("has not returned after %v though its context has ended", soon)
	}
}

func testEndedContext(t *testing.T, s store) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i, settle := range []func(token idempotency.Token) error{
		func(token idempotency.Token) error { return s.Complete(ended, token, reply("x")) },
		func(token idempotency.Token) error { return s.Abandon(ended, token) },
	} {
		k := numbered(i)
		returns(t, func() {
			if begun, err := s.Begin(ended, k, fingerprint); err == nil {
				t.Errorf("Begin = state %d though the context has ended, want an error", begun.State)
			}
		})
		begun := s.begin(t, k, fingerprint, idempotency.New)
		var err error
		returns(t, func() { err = settle(begun.Token) })
		if errors.Is(err, idempotency.ErrLost) {
			t.Errorf("lost the claim because the context has ended: %v", err)
		}
		s.wantOneOf(t, k, err)
	}
}

// wantOneOf checks that the call of a claim that was to end, which returned err, is as one that has ended or as one
// that has not.
func (s store) wantOneOf(t *testing.T, k idempotency.Key, err error) {
	t.Helper()
	begun, failed := s.Begin(t.Context(), k, fingerprint)
	if failed != nil {
		t.Fatalf("Begin: %v", failed)
	}
	switch begun.State {
	case idempotency.New, idempotency.Done:
	case idempotency.InFlight:
		if err == nil {
			t.Error("in flight, want the claim ended")
		}
	default:
		t.Errorf("Begin = state %d", begun.State)
	}
}

func testKeys(t *testing.T, s store) {
	keys := []idempotency.Key{
		key,
		{User: "U", Client: "c", Service: "s", Method: "m", ID: "1"}, // nobody gets the reply of another user
		{User: "u", Client: "C", Service: "s", Method: "m", ID: "1"},
		{User: "u", Client: "c", Service: "S", Method: "m", ID: "1"},
		{User: "u", Client: "c", Service: "s", Method: "M", ID: "1"},
		{User: "u", Client: "c", Service: "s", Method: "m", ID: "2"},
		{User: "uc", Service: "s", Method: "m", ID: "1"},
		{Client: "uc", Service: "s", Method: "m", ID: "1"},
		{User: "a\x00b", Client: "c", ID: "1"},
		{User: "a", Client: "b\x00c", ID: "1"},
		{User: "a/b", Client: "c", ID: "1"},
		{User: "a", Client: "b/c", ID: "1"},
		{User: "'", Client: "\"\\\n", Service: "ü", Method: "%s", ID: string(bytes.Repeat([]byte("i"), 255))},
	}
	for i, k := range keys {
		s.run(t, k, reply(fmt.Sprint(i)))
	}
	for i, k := range keys {
		s.wantReply(t, k, fmt.Sprint(i))
	}
}

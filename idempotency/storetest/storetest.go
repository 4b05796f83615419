// Package storetest checks that a store keeps the contract of [idempotency.Store].
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Run runs the suite. newStore returns an empty store for each test, with room for
// 100 calls of 1 MiB, that gives no claim up and forgets nothing for a minute.
func Run(t *testing.T, newStore func(t *testing.T) idempotency.Store) {
	tests := []struct {
		name string
		test func(*testing.T, store)
	}{
		{"new, in flight, done", testLife},
		{"reply is kept", testReply},
		{"error is kept", testError},
		{"records are not shared", testRecordsAreNotShared},
		{"mismatch changes nothing", testMismatch},
		{"abandoned call is new", testAbandon},
		{"ended claim is lost", testEndedClaim},
		{"claim of another is lost", testClaimOfAnother},
		{"keys are told apart", testKeys},
		{"one of many is new", testConcurrent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.test(t, store{newStore(t)})
		})
	}
}

var (
	key         = idempotency.Key{User: "u", Client: "c", Service: "s", Method: "m", ID: "1"}
	fingerprint = idempotency.FingerprintOf(&rpc.Request{Body: []byte("payload")})
	other       = idempotency.FingerprintOf(&rpc.Request{Body: []byte("another")})
)

// store adds to a store what makes tests short.
type store struct{ idempotency.Store }

// begin checks that Begin is answered with want.
func (s store) begin(t *testing.T, k idempotency.Key, f idempotency.Fingerprint, want idempotency.State) idempotency.Begun {
	t.Helper()
	begun, err := s.Begin(t.Context(), k, f)
	if err != nil || begun.State != want {
		t.Fatalf("Begin = state %d, %v, want state %d", begun.State, err, want)
	}
	if want == idempotency.New && begun.Token.Key != k {
		t.Fatalf("Begin = token for %+v, want %+v", begun.Token.Key, k)
	}
	if (begun.Record != nil) != (want == idempotency.Done) {
		t.Fatalf("Begin = state %d with record %v", begun.State, begun.Record)
	}
	return begun
}

// run begins a new call and completes it.
func (s store) run(t *testing.T, k idempotency.Key, record *idempotency.Record) {
	t.Helper()
	begun := s.begin(t, k, fingerprint, idempotency.New)
	if err := s.Complete(t.Context(), begun.Token, record); err != nil {
		t.Fatalf("Complete: %v", err)
	}
}

func reply(body string) *idempotency.Record {
	return &idempotency.Record{Reply: &rpc.Reply{Body: []byte(body)}}
}

// wantReply checks that the call is done, with the given body.
func (s store) wantReply(t *testing.T, k idempotency.Key, body string) {
	t.Helper()
	got := s.begin(t, k, fingerprint, idempotency.Done).Record
	if got.Reply == nil || got.Err != nil || string(got.Reply.Body) != body {
		t.Fatalf("record = %+v, %v, want reply %q", got.Reply, got.Err, body)
	}
}

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

func testReply(t *testing.T, s store) {
	for i, want := range []rpc.Reply{
		{ContentType: "text/plain", Body: []byte("\x00\xff'\"\\\n"), Server: "math-1"},
		{Body: []byte{}},
		{Body: bytes.Repeat([]byte("x"), 1<<20)},
	} {
		k := key
		k.ID = fmt.Sprint(i)
		s.run(t, k, &idempotency.Record{Reply: &want})
		got := s.begin(t, k, fingerprint, idempotency.Done).Record
		if got.Err != nil || got.Reply == nil {
			t.Fatalf("record = %+v, %v, want a reply", got.Reply, got.Err)
		}
		if got.Reply.ContentType != want.ContentType || got.Reply.Server != want.Server || !bytes.Equal(got.Reply.Body, want.Body) {
			t.Errorf("reply %d differs", i)
		}
	}
}

func testError(t *testing.T, s store) {
	want := &rpc.Error{
		Code: rpc.NotFound, Message: "no \"such\"\n\x00 account", Details: []byte(`{"id":7}`),
		RetryAfter: 1500 * time.Millisecond, Executed: rpc.ExecutedYes, Remote: true,
	}
	s.run(t, key, &idempotency.Record{Err: want.WithCause(errors.New("cause"))})
	got := s.begin(t, key, fingerprint, idempotency.Done).Record
	if got.Reply != nil || got.Err == nil {
		t.Fatalf("record = %+v, %v, want an error", got.Reply, got.Err)
	}
	if g, w := fmt.Sprintf("%#v", *got.Err), fmt.Sprintf("%#v", *want); g != w {
		t.Errorf("error = %s, want %s", g, w)
	}
}

func testRecordsAreNotShared(t *testing.T, s store) {
	record := reply("before")
	s.run(t, key, record)
	copy(record.Reply.Body, "after!")
	for range 2 {
		s.wantReply(t, key, "before")
		got := s.begin(t, key, fingerprint, idempotency.Done).Record
		copy(got.Reply.Body, "after!")
		got.Reply.Replayed = true
	}

	k := key
	k.ID = "error"
	failed := rpc.Errorf(rpc.NotFound, "x").WithDetails(1)
	s.run(t, k, &idempotency.Record{Err: failed})
	failed.Details[0] = '2'
	for range 2 {
		got := s.begin(t, k, fingerprint, idempotency.Done).Record
		if string(got.Err.Details) != "1" || got.Err.Message != "x" {
			t.Errorf("error = %v, %s, want as it was completed", got.Err, got.Err.Details)
		}
		got.Err.Details[0], got.Err.Message = '3', "y"
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

func testConcurrent(t *testing.T, s store) {
	const n = 20
	var (
		mu     sync.Mutex // guards states
		states = map[idempotency.State]int{}
		wg     sync.WaitGroup
	)
	for range n {
		wg.Go(func() {
			begun, err := s.Begin(t.Context(), key, fingerprint)
			if err != nil {
				t.Errorf("Begin: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			states[begun.State]++
		})
	}
	wg.Wait()
	if states[idempotency.New] != 1 || states[idempotency.InFlight] != n-1 {
		t.Errorf("states = %v, want one new and the others in flight", states)
	}
}

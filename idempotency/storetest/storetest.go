// Package storetest checks that a store keeps the contract of [idempotency.Store]: [Run] what it does while its process
// lives, [RunCrash] what it promises for when that does not.
package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Run runs the suite. newStore returns an empty store for each test, with room for 100 calls of 1 MiB and for 10 claims at
// a time, that gives no claim up and forgets nothing for a minute.
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
		{"forged token is lost", testForgedToken},
		{"context has ended", testEndedContext},
		{"bound context", testBind},
		{"keys are told apart", testKeys},
		{"one of many is new", testConcurrent},
		{"done while others begin", testDoneWhileOthersBegin},
		{"many keys, many holders", testManyKeys},
		{"as the model", testModel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.test(t, store{newStore(t), t})
		})
	}
}

var (
	key         = idempotency.Key{User: "u", Client: "c", Service: "s", Method: "m", ID: "1"}
	fingerprint = idempotency.FingerprintOf(&rpc.Request{Body: []byte("payload")})
	other       = idempotency.FingerprintOf(&rpc.Request{Body: []byte("another")})
)

// store adds to a store what makes tests short.
type store struct {
	idempotency.Store
	t *testing.T
}

// Begin has the claim end with the test, since a store may be unable to close before.
func (s store) Begin(ctx context.Context, k idempotency.Key, f idempotency.Fingerprint) (idempotency.Begun, error) {
	begun, err := s.Store.Begin(ctx, k, f)
	if begun.State == idempotency.New {
		s.t.Cleanup(func() { _ = s.Abandon(context.Background(), begun.Token) }) // lost, if it has ended
	}
	return begun, err
}

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
	if want == idempotency.New && begun.Claims > 1 { // 0: the store does not count
		t.Fatalf("Begin = new, with %d claims, want 1", begun.Claims)
	}
	if (begun.Record != nil) != (want == idempotency.Done) {
		t.Fatalf("Begin = state %d with record %v", begun.State, begun.Record)
	}
	return begun
}

// numbered returns the key of call n.
func numbered(n int) idempotency.Key {
	k := key
	k.ID = fmt.Sprint("call ", n)
	return k
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

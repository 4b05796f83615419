package idempotency

import (
	"context"
	"errors"
)

// Store remembers which calls run and what came of those that ran. A call is
// claimed by Begin, and its claim ends with Complete or Abandon.
//
// The methods may be called by several goroutines, and return soon after ctx
// ends. Package storetest checks what is said here.
type Store interface {
	// Begin claims the call for the caller, unless it is known, and says which.
	// Of several Begins for one call, one at most is answered with New or Orphaned
	// until the claim ends, or its holder is taken for gone. The error is of type *rpc.Error where the store has a verdict
	// of its own, such as resource_exhausted; after any error nothing is claimed. With
	// a ctx that has ended it claims nothing, and returns an error.
	Begin(ctx context.Context, key Key, fingerprint Fingerprint) (Begun, error)

	// Complete records what came of the call, and ends the claim. If the claim is
	// no longer the holder's it changes nothing and returns ErrLost, maybe
	// wrapped; if it could undo the effect of the call, and had to, ErrUndone. After
	// any other error the record may or may not be stored. The store shares no
	// memory with record once it returns.
	Complete(ctx context.Context, token Token, record *Record) error

	// Abandon ends the claim of a call that did not run, as if it had not been
	// claimed: the next Begin is answered with New or, if this claim was of an
	// orphan, with Orphaned again, and as many Claims. If the claim is no longer the
	// holder's it changes nothing and returns ErrLost.
	Abandon(ctx context.Context, token Token) error
}

// ErrLost says that a claim is no longer the holder's: it was completed or
// abandoned, or the store gave it to another. A holder that lost its claim must
// not answer the call.
var ErrLost = errors.New("idempotency: claim lost")

// ErrUndone says that a call had no effect after all, and that its claim has ended:
// its transaction was rolled back. It may begin again.
var ErrUndone = errors.New("idempotency: effect undone")

// Token proves a claim.
type Token struct {
	Key   Key
	Fence uint64 // different for each claim of the key
}

// State is what a store knows of a call.
type State uint8

const (
	// New: nothing was known of the call; it is now the caller's to run.
	New State = iota + 1
	// Orphaned: somebody who is gone was running it, and may have done so in part or
	// whole. It is now the caller's, like a new one.
	Orphaned
	// InFlight: somebody runs it.
	InFlight
	// Done: it ran.
	Done
	// Mismatch: it runs or ran with another fingerprint. What is stored stays.
	Mismatch
)

// Begun is the answer of Begin.
type Begun struct {
	State  State
	Token  Token   // if New or Orphaned
	Record *Record // if Done; the caller's own, to change as it likes

	// Claims counts the claims of the call that did not end before their holders
	// did, and this one, if New or Orphaned. 0 means that the store does not count.
	Claims int

	// Bind, if not nil, returns the context to run the call with: it carries what
	// its effect needs of the store, such as a transaction.
	Bind func(context.Context) context.Context
}

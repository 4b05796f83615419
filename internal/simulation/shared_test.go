package simulation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	lease     = 300 * time.Millisecond // that a holder may give no sign of life
	retention = 90 * time.Second
)

// A shared store is what idempotency/postgres promises, in memory: claims with a lease, or, with transactions, effect and
// record in one. A holder that is gone loses its claim; what it was at is orphaned, or undone.
type shared struct {
	bank         *bank
	transactions bool

	mu     sync.Mutex // guards what follows
	fence  uint64
	calls  map[idempotency.Key]*entry
	claims map[who]int // that were ever given out, by call
	took   int         // claims of others that were taken over
}

// An entry is a call that is claimed, or done.
type entry struct {
	fingerprint idempotency.Fingerprint
	created     time.Time
	fence       uint64
	holder      holder
	tx          *transaction
	claims      int
	record      *idempotency.Record
}

// A holder is a process that may be gone.
type holder interface {
	lastSign() time.Time // of life; now, unless it is gone or frozen
	gone() bool          // for good, and the database knows: its connection is closed
}

func newShared(b *bank, transactions bool) *shared {
	return &shared{
		bank: b, transactions: transactions, calls: make(map[idempotency.Key]*entry),
		claims: make(map[who]int),
	}
}

// of is the store as a process sees it.
func (s *shared) of(h holder) *sharedBy { return &sharedBy{s, h} }

type sharedBy struct {
	*shared
	holder holder
}

func (s *sharedBy) Begin(ctx context.Context, key idempotency.Key, fingerprint idempotency.Fingerprint) (begun idempotency.Begun, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) > retention/2 {
		return begun, rpc.Errorf(rpc.FailedPrecondition, "the deadline is beyond what is remembered").WithExecuted(rpc.ExecutedNo)
	}
	now := time.Now()
	e := s.calls[key]
	if e != nil && (e.record != nil || !s.held(e, now)) && now.Sub(e.created) > retention {
		e = nil // forgotten
	}
	if e != nil && e.record == nil && s.transactions && !s.held(e, now) {
		s.took++
		e = nil // rolled back
	}
	switch {
	case e == nil:
		e = &entry{fingerprint: fingerprint, created: now}
		s.calls[key] = e
		begun.State = idempotency.New
	case e.fingerprint != fingerprint:
		return idempotency.Begun{State: idempotency.Mismatch}, nil
	case e.record != nil:
		return idempotency.Begun{State: idempotency.Done, Record: e.record.Clone()}, nil
	case s.held(e, now):
		return idempotency.Begun{State: idempotency.InFlight}, nil
	default:
		s.took++
		begun.State = idempotency.Orphaned
	}
	s.fence++
	e.fence, e.holder, e.tx = s.fence, s.holder, nil
	e.claims++
	begun.Token, begun.Claims = idempotency.Token{Key: key, Fence: e.fence}, e.claims
	// A duplicate may have waited until what was known of the call was forgotten. The lookup was before this.
	if expired(ctx) {
		s.abandon(key, e)
		return idempotency.Begun{}, fmt.Errorf("begin: %w", context.DeadlineExceeded)
	}
	if r := rpc.RequestOf(ctx); r != nil {
		s.claims[whoOf(r)]++ // not key, which is under test
	}
	if s.transactions {
		tx := &transaction{bank: s.bank}
		e.tx = tx
		begun.Bind = func(ctx context.Context) context.Context { return context.WithValue(ctx, transactionKey{}, tx) }
	}
	return begun, nil
}

func expired(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// held reports whether the claim is still its holder's.
func (s *shared) held(e *entry, now time.Time) bool {
	if e.holder == nil || s.transactions && e.holder.gone() {
		return false
	}
	return now.Sub(e.holder.lastSign()) < lease
}

func (s *sharedBy) Complete(ctx context.Context, token idempotency.Token, record *idempotency.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.calls[token.Key]
	if e == nil || e.record != nil || e.fence != token.Fence {
		return s.lost()
	}
	if s.transactions {
		if err := s.commit(ctx, e, record); err != nil {
			delete(s.calls, token.Key)
			return fmt.Errorf("%w: %w", idempotency.ErrUndone, err)
		}
	}
	e.record = record.Clone()
	return nil
}

// commit ends the transaction: an error has no effect, and one for want of time is no verdict.
func (s *shared) commit(ctx context.Context, e *entry, record *idempotency.Record) error {
	switch {
	case record.Err == nil:
		return e.tx.commit()
	case errors.Is(record.Err, context.DeadlineExceeded):
		return record.Err
	}
	return nil
}

// lost is the error for a claim that is not the holder's any more. Its transaction is rolled back.
func (s *shared) lost() error {
	if s.transactions {
		return fmt.Errorf("%w: %w", idempotency.ErrLost, idempotency.ErrUndone)
	}
	return idempotency.ErrLost
}

// forsake is Complete that did not get there: the claim is renewed no more, and the transaction is rolled back.
func (s *sharedBy) forsake(token idempotency.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.calls[token.Key]; e != nil && e.record == nil && e.fence == token.Fence {
		e.holder = fallen(time.Now())
	}
}

// A fallen holder gave its last sign of life at that time.
type fallen time.Time

func (f fallen) lastSign() time.Time { return time.Time(f) }
func (f fallen) gone() bool          { return true }

func (s *sharedBy) Abandon(_ context.Context, token idempotency.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.calls[token.Key]
	if e == nil || e.record != nil || e.fence != token.Fence {
		return idempotency.ErrLost
	}
	s.abandon(token.Key, e)
	return nil
}

// abandon leaves a call as it was before its claim, which may be an orphan.
func (s *shared) abandon(key idempotency.Key, e *entry) {
	e.claims--
	e.holder = nil
	if e.claims == 0 || s.transactions {
		delete(s.calls, key)
	}
}

package idempotency

import (
	"fmt"
	"time"
)

// bounds is what the options of an LRU say.
type bounds struct {
	entries        int
	bytes          int
	minAge, maxAge time.Duration
	share          float64
}

// defaultBounds have room for 50 000 small calls a second and some more: what binds is the bytes, at over half a million
// calls, of which none may be younger than minAge.
var defaultBounds = bounds{
	entries: 1_000_000,
	bytes:   256 << 20,
	minAge:  10 * time.Second,
	maxAge:  10 * time.Minute,
	share:   1,
}

func (b bounds) check() error {
	switch {
	case b.entries <= 0 || b.bytes <= 0 || b.maxAge <= 0:
		return fmt.Errorf("idempotency: entries %d, bytes %d and maximum age %v must be positive", b.entries, b.bytes, b.maxAge)
	case b.minAge < 0 || b.minAge > b.maxAge:
		return fmt.Errorf("idempotency: minimum age %v is not from 0 to the maximum %v", b.minAge, b.maxAge)
	case !(b.share > 0 && b.share <= 1): // nor is NaN
		return fmt.Errorf("idempotency: share of a tenant %v is not over 0 and at most 1", b.share)
	}
	return nil
}

// LRUOption changes a default of NewLRU.
type LRUOption func(*bounds)

// WithEntries bounds the number of calls, running and recorded. Default 1 000 000.
func WithEntries(n int) LRUOption { return func(b *bounds) { b.entries = n } }

// WithBytes bounds the memory for them, approximately. Default 256 MiB, of which a
// call with a reply of 16 bytes takes about 0.4 KiB.
func WithBytes(n int) LRUOption { return func(b *bounds) { b.bytes = n } }

// WithMinAge sets how long an outcome is kept at least after its last use. Default
// 10 s, the default timeout of a call. 0 keeps none for sure.
func WithMinAge(d time.Duration) LRUOption { return func(b *bounds) { b.minAge = d } }

// WithMaxAge sets how long an outcome is kept at most after its last use. Default
// 10 min.
func WithMaxAge(d time.Duration) LRUOption { return func(b *bounds) { b.maxAge = d } }

// WithTenantShare sets the largest part of the entries, and of the bytes, that one
// tenant may hold, over 0 and at most 1. A tenant is a user that the broker has
// validated, or a client if it has not validated any. If a tenant has its share,
// room for its next call is made among its own outcomes, or the call is refused,
// and all others go on as before.
//
// Default 1, which is no bound. It needs users that differ: if all callers are one
// user they are one tenant, and if there are none it stops nobody who does not want
// to be stopped, since a client gives itself its name.
func WithTenantShare(f float64) LRUOption { return func(b *bounds) { b.share = f } }

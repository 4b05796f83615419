package client

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/deadline"
)

// A callContext is what interceptors and hooks see as the context of a call: that of the caller, which ends at the deadline of
// the call and with it. It holds all that a call takes, in one allocation.
type callContext struct {
	deadline.Context
	waiting atomic.Int32 // calls: one, unless an interceptor makes more of it
	taken   atomic.Bool  // call is, for good
	call    call
}

// withTimeout returns a context of a call that may take so long, or until the deadline of the caller if that is earlier.
func withTimeout(ctx context.Context, timeout time.Duration) *callContext {
	now := time.Now()
	at := now.Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		at = now.Add(d.Sub(now)) // by the monotonic clock, which d may not have: the other may be set
	}
	c := new(callContext)
	c.Begin(ctx, at)
	return c
}

// waitWith returns a context that ends when ctx does, to wait with until release: if ctx is that of a call, that is left without a
// timer.
func waitWith(ctx context.Context) (_ context.Context, release func()) {
	if c, ok := ctx.(*callContext); ok {
		return c.Wait()
	}
	return ctx, func() {}
}

// done returns a channel to wait for the end of ctx. If ctx is that of a call it need not tell of its deadline, which is among the
// deadlines of the calls that wait.
func done(ctx context.Context) <-chan struct{} {
	if c, ok := ctx.(*callContext); ok {
		return c.DoneEarly()
	}
	return ctx.Done()
}

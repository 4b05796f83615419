package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A callContext is what interceptors and hooks see as the context of a call: that of the caller, which ends at the deadline of
// the call and with it. It is like that of [context.WithDeadline], but has a timer and a channel only if somebody asks for one.
type callContext struct {
	context.Context // the caller's
	deadline        time.Time
	waiting         atomic.Int32 // calls: one, unless an interceptor makes more of it

	mu     sync.Mutex      // guards what follows
	timed  context.Context // the same of package context, since somebody has asked; or nil
	cancel context.CancelFunc
	err    error // stays, once seen
}

// withTimeout returns a context of a call that may take so long, or until the deadline of the caller if that is earlier.
func withTimeout(ctx context.Context, timeout time.Duration) *callContext {
	now := time.Now()
	c := &callContext{Context: ctx, deadline: now.Add(timeout)}
	if d, ok := ctx.Deadline(); ok && d.Before(c.deadline) {
		c.deadline = now.Add(d.Sub(now)) // by the monotonic clock, which d may not have: the other may be set
	}
	return c
}

// Deadline returns that of the call.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done starts the timer.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.err != nil {
			c.cancel()
		}
	}
	return c.timed.Done()
}

// Err tells of the deadline by the clock where there is no timer.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
	case c.timed != nil:
		c.err = c.timed.Err()
	case c.Context.Err() != nil:
		c.err = c.Context.Err()
	case !time.Now().Before(c.deadline):
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// Value is of the timed context if there is one: that is what contexts made from this one look for, so as to end with it.
func (c *callContext) Value(key any) any {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

// end cancels the context, unless it has ended.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil:
		c.cancel()
	case c.err == nil:
		c.err = context.Canceled
	}
}

// timed returns a context that ends when ctx does, to wait with: if ctx is that of a call, that is left without a timer.
func timed(ctx context.Context) (context.Context, context.CancelFunc) {
	if c, ok := ctx.(*callContext); ok {
		return context.WithDeadline(c.Context, c.deadline)
	}
	return ctx, func() {}
}

// done returns a channel to wait for the end of ctx. If ctx is that of a call it need not tell of its deadline, which is among the
// deadlines of the calls that wait.
func done(ctx context.Context) <-chan struct{} {
	c, ok := ctx.(*callContext)
	if !ok {
		return ctx.Done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed != nil {
		return c.timed.Done()
	}
	return c.Context.Done()
}

// Package deadline has a context that costs a timer only if somebody waits for its end.
package deadline

import (
	"context"
	"sync"
	"time"
)

// A Context ends at its deadline, with its base, and with [Context.End], and cannot be told from one of [context.WithDeadline].
// Only when somebody wants to be told of the end it becomes such a one, with a timer, and a place among the children of its
// base, under its lock. Most calls are over before. It starts with [Context.Begin].
type Context struct {
	base context.Context
	at   time.Time

	mu     sync.Mutex // guards what follows
	over   *ending    // how it ended, if nobody had to be told
	told   context.Context
	cancel context.CancelFunc // of told
	waits  int32              // of those who have told for a while
	asked  bool               // somebody has it for good
}

// An ending is how a context ended. It is never changed.
type ending struct{ err, cause error }

var (
	canceled = &ending{context.Canceled, context.Canceled}
	exceeded = &ending{context.DeadlineExceeded, context.DeadlineExceeded}
)

// Begin sets what the context is based on, and its deadline, which is not after that of base. It comes before all else, once.
func (c *Context) Begin(base context.Context, at time.Time) { c.base, c.at = base, at }

// At returns the deadline.
func (c *Context) At() time.Time { return c.at }

// Deadline returns the deadline, and true.
func (c *Context) Deadline() (time.Time, bool) { return c.at, true }

// Done starts the timer.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = true
	return c.tell().Done()
}

// Wait returns a context that ends as this one does, to wait with until release, and not to be kept. Unlike Done it leaves no timer
// behind.
func (c *Context) Wait() (_ context.Context, release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits++
	return c.tell(), c.release
}

func (c *Context) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// At the deadline told stays, though its timer may be late: who has had a look at it before that waits for it now.
	if c.waits--; c.waits == 0 && !c.asked && c.told.Err() == nil && time.Now().Before(c.at) {
		c.cancel()
		c.told, c.cancel = nil, nil
	}
}

// DoneEarly is Done for who learns of the deadline and of End by other means: it starts no timer.
func (c *Context) DoneEarly() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told != nil {
		return c.told.Done()
	}
	return c.base.Done()
}

// Err tells of the deadline by the clock where there is no timer.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended()
}

// Value asks told, if there is one, so that package context finds there what it needs to make children.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	from := c.base
	if c.told != nil || c.over != nil {
		from = c.tell()
	}
	c.mu.Unlock()
	return from.Value(key)
}

// ended is Err with the mutex held.
func (c *Context) ended() error {
	switch {
	case c.told != nil:
		return c.told.Err()
	case c.over != nil:
	case c.base.Err() != nil:
		c.over = &ending{c.base.Err(), context.Cause(c.base)}
	case !time.Now().Before(c.at):
		c.over = exceeded
	default:
		return nil
	}
	return c.over.err
}

// tell returns told, which it makes if there is none. If the context has ended, told has, in the same way.
func (c *Context) tell() context.Context {
	if c.told != nil {
		return c.told
	}
	switch c.ended() {
	case nil:
		c.told, c.cancel = context.WithDeadline(c.base, c.at)
	case context.DeadlineExceeded:
		c.told, c.cancel = context.WithDeadlineCause(context.WithoutCancel(c.base), time.Time{}, c.over.cause)
	default:
		told, cancel := context.WithCancelCause(context.WithoutCancel(c.base))
		cancel(c.over.cause)
		c.told, c.cancel = told, func() {}
	}
	return c.told
}

// End cancels the context, for whoever has kept it.
func (c *Context) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told != nil {
		c.cancel()
	} else if c.ended() == nil {
		c.over = canceled
	}
}

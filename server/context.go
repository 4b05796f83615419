package server

import (
	"context"
	"sync"
	"time"
)

// A requestContext is the context of a request that runs: it has the job, and ends as one of [context.WithDeadline] does. Only
// when somebody wants to be told of the end it becomes such a one, with a timer, and a place among the children of the context
// that all requests share, under its lock. Most handlers are done before.
type requestContext struct {
	base     context.Context
	job      *job
	deadline time.Time

	mu     sync.Mutex // guards what follows
	err    error      // how it ended, if nobody had to be told
	cause  error      // if not err
	told   context.Context
	cancel context.CancelFunc // of told
}

type jobKey struct{}

func jobOf(ctx context.Context) *job { return ctx.Value(jobKey{}).(*job) }

// begin returns the context to run a request with. It ends with [requestContext.end].
func (j *job) begin(ctx context.Context, deadline time.Time) *requestContext {
	j.context.base, j.context.job, j.context.deadline = ctx, j, deadline
	return &j.context
}

func (c *requestContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tell().Done()
}

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended()
}

// Value asks told, if there is one, so that package context finds there what it needs to make children.
func (c *requestContext) Value(key any) any {
	if key == (jobKey{}) {
		return c.job
	}
	c.mu.Lock()
	from := c.base
	if c.told != nil || c.err != nil {
		from = c.tell()
	}
	c.mu.Unlock()
	return from.Value(key)
}

// ended is Err with the mutex held.
func (c *requestContext) ended() error {
	switch {
	case c.told != nil:
		return c.told.Err()
	case c.err != nil:
	case c.base.Err() != nil:
		c.err, c.cause = c.base.Err(), context.Cause(c.base)
	case !time.Now().Before(c.deadline):
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// tell returns told, which it makes if there is none. If it has ended, told has, in the same way.
func (c *requestContext) tell() context.Context {
	if c.told != nil {
		return c.told
	}
	switch c.ended() {
	case nil:
		c.told, c.cancel = context.WithDeadline(c.base, c.deadline)
	case context.DeadlineExceeded:
		c.told, c.cancel = context.WithDeadline(context.WithoutCancel(c.base), time.Time{})
	default:
		told, cancel := context.WithCancelCause(context.WithoutCancel(c.base))
		cancel(c.cause)
		c.told, c.cancel = told, func() {}
	}
	return c.told
}

// end cancels the context, for whoever has kept it.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told != nil {
		c.cancel()
	} else if c.ended() == nil {
		c.err = context.Canceled
	}
}

package idempotency

import (
	"context"
	"sync"
	"time"
)

// grace is a context for Complete and Abandon, which must happen though the caller
// may be gone by then: it has the values of the call's context, and lasts for
// settleTimeout from its first use. A store in memory does not use it, and its
// timer would cost more than that store.
type grace struct {
	call context.Context

	once   sync.Once // makes the others
	ctx    context.Context
	cancel context.CancelFunc
}

// over is what a grace is that was not used before it was over.
var over, _ = context.WithDeadline(context.Background(), time.Time{})

func (g *grace) made() context.Context {
	g.once.Do(func() {
		g.ctx, g.cancel = context.WithTimeout(context.WithoutCancel(g.call), settleTimeout)
	})
	return g.ctx
}

// end ends the context.
func (g *grace) end() {
	g.once.Do(func() { g.ctx, g.cancel = over, func() {} })
	g.cancel()
}

func (g *grace) Deadline() (time.Time, bool) { return g.made().Deadline() }
func (g *grace) Done() <-chan struct{}       { return g.made().Done() }
func (g *grace) Err() error                  { return g.made().Err() }
func (g *grace) Value(key any) any           { return g.made().Value(key) }

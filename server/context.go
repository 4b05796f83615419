package server

import (
	"context"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/deadline"
)

// A requestContext is the context of a request that runs.
type requestContext struct {
	deadline.Context
	job *job
}

type jobKey struct{}

func jobOf(ctx context.Context) *job { return ctx.Value(jobKey{}).(*job) }

// begin returns the context to run a request with, until its End.
func (j *job) begin(ctx context.Context, at time.Time) *requestContext {
	j.context.Begin(ctx, at)
	j.context.job = j
	return &j.context
}

func (c *requestContext) Value(key any) any {
	if key == (jobKey{}) {
		return c.job
	}
	return c.Context.Value(key)
}

package server

import (
	"context"

	"github.com/rabbitrpc/rabbitrpc/internal/contextkey"
	"github.com/rabbitrpc/rabbitrpc/internal/deadline"
)

// A requestContext is the context that a request is answered with. That of its handler, which ends at the deadline, is based on it.
type requestContext struct {
	context.Context
	job *job
}

type jobKey struct{}

func jobOf(ctx context.Context) *job { return ctx.Value(jobKey{}).(*job) }

func (c *requestContext) Value(key any) any {
	switch key {
	case jobKey{}:
		return c.job
	case contextkey.Request{}:
		return &c.job.call.Request
	}
	return c.Context.Value(key)
}

// begin returns the context to run a request with, until its End.
func (j *job) begin() *deadline.Context {
	j.running.Begin(&j.ctx, j.deadline)
	return &j.running
}

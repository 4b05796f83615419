package server

import (
	"context"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// WithTenantLimit lets at most n requests of one tenant be executed at a time, 1 to 10000, so that one who asks for much leaves
// workers to the others. A request beyond that is refused at once: resource_exhausted, ExecutedNo, and when to try again.
//
// A tenant is the RabbitMQ user that the broker has checked, if the caller says it, else the name of the client. Names are
// what clients say: the limit keeps accidents in bounds, and malice only where callers must say their user. A duplicate
// that waits for the same call counts as well, since it keeps a worker. Default: no such limit.
func WithTenantLimit(n int) Option { return func(o *options) { o.tenant = n } }

// tenants counts the requests of each tenant that are being executed.
type tenants struct {
	most int

	mu      sync.Mutex // guards what follows
	running map[idempotency.Tenant]int
	pace    pace
}

// limitTenants is the interceptor that refuses what is over a tenant's limit.
func (s *Server) limitTenants(next rpc.Handler) rpc.Handler {
	t := &tenants{most: s.opts.tenant, running: make(map[idempotency.Tenant]int)}
	return func(ctx context.Context, r *rpc.Request) (reply *rpc.Reply, err error) {
		who := idempotency.KeyOf(r).Tenant()
		if retryAfter, ok := t.enter(who, r.Redelivered); !ok {
			return nil, s.refuse("too many requests of this caller at a time", retryAfter)
		}
		start := time.Now()
		defer func() { t.leave(who, time.Since(start), executed(ctx, err)) }()
		return next(ctx, r)
	}
}

// enter lets a request in unless its tenant is at the limit. One that must be let in counts all the same.
func (t *tenants) enter(who idempotency.Tenant, must bool) (retryAfter time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[who] >= t.most && !must {
		return t.pace.retryAfter(), false
	}
	t.running[who]++
	return 0, true
}

// leave forgets a request, and its tenant if that has no other: there are no more tenants here than workers.
func (t *tenants) leave(who idempotency.Tenant, took time.Duration, executed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[who]--; t.running[who] == 0 {
		delete(t.running, who)
	}
	if executed {
		t.pace.learn(took)
	}
}

package server

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// again is the interceptor, inside of the store's, that decides whether a call that was started before may be started
// again. What it says is recorded, and so is the answer to all duplicates.
func (s *Server) again(next rpc.Handler) rpc.Handler {
	return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
		if r.AtMostOnce && r.Redelivered {
			return nil, rpc.Errorf(rpc.Unavailable, "request was delivered before, and is to be executed at most once")
		}
		j, limit := jobOf(ctx), s.opts.startLimit()
		switch starts := s.starts(ctx, j, r); {
		case starts < 2 || limit == 0:
		case starts < limit:
			// Who dies with one request has others in hand, which are suspects as well. Apart from each other the good ones
			// have the time to end.
			sleep(ctx, rand.N(time.Duration(starts)*suspectWait))
		default:
			if err := s.park(ctx, j, r, starts); err != nil {
				j.keep = true
				return nil, err
			}
			return nil, rpc.Errorf(rpc.Internal, "request was given up: it was delivered %d times, and no server lived to answer it", starts)
		}
		return next(ctx, r)
	}
}

const suspectWait = 200 * time.Millisecond

// starts is how often the request was started before, as far as anybody counts that. In a classic queue the header could be the
// caller's own.
func (s *Server) starts(ctx context.Context, j *job, r *rpc.Request) int {
	n := max(0, idempotency.ClaimsOf(ctx)-1)
	if s.opts.quorum > 0 && !j.source.Plain && r.Redelivered {
		n = max(n, wire.DeliveryCount(&j.delivery.Message))
	}
	return n
}

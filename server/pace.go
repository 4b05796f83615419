package server

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A pace is how long a call takes: a moving average.
type pace time.Duration

func (p *pace) learn(took time.Duration) {
	if *p == 0 {
		*p = pace(took)
	}
	*p += (pace(took) - *p) / 8
}

// retryAfter is when one of the calls that are executed now will have ended, about: those that are refused together are not to
// come back together.
func (p pace) retryAfter() time.Duration {
	d := max(time.Duration(p), time.Millisecond)
	return d/2 + rand.N(d)
}

// executed reports whether a request that is answered with err was. Duplicates are not.
func executed(ctx context.Context, err error) bool {
	return jobOf(ctx).executed.Load() && (err == nil || rpc.Executed(err) != rpc.ExecutedNo)
}

// refuse makes the answer to a request that is over a limit.
func (s *Server) refuse(text string, retryAfter time.Duration) error {
	s.stats.refused.Add(1)
	return rpc.Errorf(rpc.ResourceExhausted, "%s", text).WithExecuted(rpc.ExecutedNo).WithRetryAfter(retryAfter)
}

package bolt

import (
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// askAgainAfter is for callers who are refused though there may be room at any time.
const askAgainAfter = 100 * time.Millisecond

// oldest returns the entry that has been settled for the longest, if there is one.
func (g *group) oldest() (id callID, at time.Time, ok bool) {
	k, _ := g.ages.Cursor().First()
	return parseAgeKey(k)
}

// young returns for how long the entry must be kept.
func (g *group) young(at time.Time) time.Duration { return g.minAge - g.now.Sub(at) }

// sweep forgets the oldest entries, at most n of them, if they are past the maximum age, or past the minimum age and
// room is getting short. With n above the number of new entries it gets ahead of them.
func (g *group) sweep(n int) error {
	for range n {
		id, at, ok := g.oldest()
		short := g.size > int64(g.entries) || g.used > g.bytes-g.bytes/10
		if !ok || g.now.Sub(at) < g.maxAge && (!short || g.young(at) > 0) {
			return nil
		}
		if err := g.forget(id, at); err != nil {
			return err
		}
		g.evicted++
	}
	return nil
}

// makeRoom makes room for one entry. If there is none the refusal says after what time to try again.
func (g *group) makeRoom() (refusal, err error) {
	if g.size < int64(g.entries) && g.used <= g.bytes {
		return nil, nil
	}
	id, at, ok := g.oldest()
	switch {
	case ok && g.young(at) > 0:
		return refuse("too many recent calls", g.young(at)), nil
	case ok && g.used <= g.bytes:
		g.evicted++
		return nil, g.forget(id, at)
	}
	return refuse("too many recent calls", askAgainAfter), nil // all are running, or sweep is at it
}

// refuse returns the answer for a call that there is no room for.
func refuse(why string, retryAfter time.Duration) error {
	return rpc.Errorf(rpc.ResourceExhausted, "%s", why).WithExecuted(rpc.ExecutedNo).WithRetryAfter(retryAfter)
}

package bolt

import (
	"encoding/binary"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// askAgainAfter is for callers who are refused though there may be room at any time.
const askAgainAfter = 100 * time.Millisecond

// oldest returns the entry that has been settled for the longest, if there is one.
func (g *group) oldest() (id callID, at time.Time, ok bool) {
	c := g.ages.Cursor()
	k, _ := c.First()
	if last, _ := c.Last(); len(last) == 8+len(id) && int64(binary.BigEndian.Uint64(last)) > g.now.UnixNano() {
		k = last // the clock was set back: what is from the future goes first, or it would keep out all that is new
	}
	if len(k) != 8+len(id) {
		return id, at, false
	}
	copy(id[:], k[8:])
	return id, time.Unix(0, int64(binary.BigEndian.Uint64(k))), true
}

// young returns for how long the entry must be kept. After the clock was set back an entry may be from the future: it
// is as good as any to be forgotten, or it might stay forever.
func (g *group) young(at time.Time) time.Duration {
	if age := g.now.Sub(at); age >= 0 {
		return g.minAge - age
	}
	return 0
}

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

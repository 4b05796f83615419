package server

import (
	"sync"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// Bounds of what waits for trials. A trial takes milliseconds, or tens of them where the address was made up.
const (
	maxTrials       = 4096     // addresses; replies to any more are dropped
	maxUntriedBytes = 64 << 20 // of replies and their requests
	untriedOverhead = 1 << 10  // of each, besides
)

// untried holds the replies to direct reply-to addresses that wait to be tried. No worker waits with them. Their requests are
// held, not acknowledged, until then, but only so many: a flood of new addresses must not take all that the broker hands over.
type untried struct {
	maxHeld int
	trials  sync.WaitGroup // they go on in one goroutine, while there are addresses

	mu        sync.Mutex // guards what follows
	addresses []string   // in the order of their trials
	replies   map[string][]*untriedReply
	size      int
	held      int
	trying    bool
	closed    bool
}

type untriedReply struct {
	m      *conn.Message
	size   int // of what it keeps in memory
	settle func(error)
	held   bool // the request
}

// add adds a reply, or settles it where there is no room. It reports whether somebody has to start the trials.
func (u *untried) add(r *untriedReply) (start bool) {
	u.mu.Lock()
	others := u.replies[r.m.Key]
	if u.closed || u.size+r.size > maxUntriedBytes || others == nil && len(u.replies) == maxTrials {
		u.mu.Unlock()
		r.settle(errTrials)
		return false
	}
	if others == nil {
		u.addresses = append(u.addresses, r.m.Key)
	}
	u.replies[r.m.Key] = append(others, r)
	u.size += r.size
	if r.held = u.held < u.maxHeld; r.held {
		u.held++
	}
	if start = !u.trying; start {
		u.trying = true
		u.trials.Add(1)
	}
	u.mu.Unlock()
	if !r.held {
		r.settle(nil)
	}
	return start
}

// next returns the next address to try, with the first reply to it; nil if there is none any more.
func (u *untried) next() (address string, first *conn.Message) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.addresses) == 0 {
		u.trying = false
		return "", nil
	}
	address, u.addresses = u.addresses[0], u.addresses[1:]
	return address, u.replies[address][0].m
}

// take takes out the replies to an address that was tried.
func (u *untried) take(address string) []*untriedReply {
	u.mu.Lock()
	defer u.mu.Unlock()
	replies := u.replies[address]
	delete(u.replies, address)
	for _, r := range replies {
		u.size -= r.size
		if r.held {
			u.held--
		}
	}
	return replies
}

// unsettled returns the number of requests that are held.
func (u *untried) unsettled() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return int64(u.held)
}

// close has no more added, and waits for the end of the trials.
func (u *untried) close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.trials.Wait()
}

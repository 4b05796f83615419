package client

import (
	"errors"
	"time"
)

// unheardAfter is how long nobody may say that a server has a direct request, before that is taken for lost, or the answer to it:
// servers say so every two seconds.
const unheardAfter = 7 * time.Second

var errUnheard = errors.New("no server says any more that it has the request")

// watch ends attempts that nobody has. The broker loses a request, or a reply, or what should come back to the caller, without
// a word when a queue gets another leader, or nodes of a cluster lose each other for a moment.
func (c *Client) watch() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, call := range c.pending.all() {
				call.miss(now.Add(-unheardAfter))
			}
		case <-c.life.Done():
			return
		}
	}
}

// all returns the calls that wait.
func (p *pending) all() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*call, 0, len(p.calls))
	for _, c := range p.calls {
		all = append(all, c)
	}
	return all
}

// hear takes note that a server has the request of an attempt.
func (c *call) hear(attempt int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if attempt == c.attempt && !c.heard.IsZero() {
		c.heard = time.Now()
	}
}

// miss ends the present attempt, if it is one of which servers would have said since then that they have it.
func (c *call) miss(since time.Time) {
	c.mu.Lock()
	attempt, missed := c.attempt, !c.heard.IsZero() && c.heard.Before(since)
	c.mu.Unlock()
	if missed {
		c.end(ending{attempt: attempt, kind: unheard, reason: errUnheard.Error()})
	}
}

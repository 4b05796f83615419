package client

import "github.com/rabbitrpc/rabbitrpc/rpc"

// Pending returns how many calls wait.
func (c *Client) Pending() int {
	c.pending.mu.Lock()
	defer c.pending.mu.Unlock()
	return len(c.pending.calls)
}

// Age has a call been attempted n times under its ID.
func (c *Client) Age(r *rpc.Request, n int) {
	c.pending.mu.Lock()
	defer c.pending.mu.Unlock()
	c.pending.past.Add(r.ID, past{attempts: n, identity: identity(r)})
}

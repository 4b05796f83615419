package client

// Pending returns how many calls wait.
func (c *Client) Pending() int {
	c.pending.mu.Lock()
	defer c.pending.mu.Unlock()
	return len(c.pending.calls)
}

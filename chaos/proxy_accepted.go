package chaos

// Accepted returns how many connections clients have opened so far, those that the broker did not take among them.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

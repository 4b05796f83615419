package idempotency

// part is some of the calls of an LRU, which has bounds: all of them, or those of a
// tenant. A nil part has none, and keeps nothing.
type part struct {
	pair                 pair
	tenant               Tenant // whose, if it is one's
	maxEntries, maxBytes int

	entries, bytes   int    // of those that run, too
	oldest, youngest *entry // of those that ran, by their last use
}

// pair says which links of an entry a part uses.
type pair int

const (
	ofAll pair = iota
	ofTenant
)

// links are the neighbours of an entry that ran in the order of their last use.
type links struct{ older, younger *entry }

// fits returns whether there is room for more.
func (p *part) fits(entries, bytes int) bool {
	return p == nil || p.entries+entries <= p.maxEntries && p.bytes+bytes <= p.maxBytes
}

// add counts what comes, or goes if it is negative.
func (p *part) add(entries, bytes int) {
	if p != nil {
		p.entries += entries
		p.bytes += bytes
	}
}

// push makes e the youngest.
func (p *part) push(e *entry) {
	if p == nil {
		return
	}
	e.links[p.pair] = links{older: p.youngest}
	if p.youngest == nil {
		p.oldest = e
	} else {
		p.youngest.links[p.pair].younger = e
	}
	p.youngest = e
}

// pull takes e out of the order, if it is in it.
func (p *part) pull(e *entry) {
	if p == nil || e != p.oldest && e.links[p.pair].older == nil {
		return
	}
	l := e.links[p.pair]
	if l.older == nil {
		p.oldest = l.younger
	} else {
		l.older.links[p.pair].younger = l.younger
	}
	if l.younger == nil {
		p.youngest = l.older
	} else {
		l.younger.links[p.pair].older = l.older
	}
}

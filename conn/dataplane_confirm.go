package conn

import "sync"

// confirms knows who waits for the broker's verdict, by the number of the publish on its channel, from 1.
type confirms struct {
	mu      sync.Mutex // guards what follows
	waiting map[uint64]func(ok bool)
	first   uint64 // none before waits
	last    uint64 // the last that was published
	due     []func(ok bool)
}

func newConfirms() confirms { return confirms{first: 1, waiting: make(map[uint64]func(ok bool))} }

// add comes in the order of the publishes.
func (c *confirms) add(confirmed func(ok bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.waiting[c.last] = confirmed
}

// settle passes a verdict on, for one publish, or all up to it. It is called by the reader only.
func (c *confirms) settle(tag uint64, multiple, ok bool) {
	c.mu.Lock()
	from := tag
	if multiple {
		from = c.first
	}
	if tag > c.last || tag == 0 && multiple { // 0 is all
		tag = c.last
	}
	for ; from <= tag; from++ {
		if confirmed := c.waiting[from]; confirmed != nil {
			delete(c.waiting, from)
			c.due = append(c.due, confirmed)
		}
	}
	for c.first <= c.last && c.waiting[c.first] == nil {
		c.first++
	}
	c.mu.Unlock()
	for i, confirmed := range c.due {
		confirmed(ok)
		c.due[i] = nil
	}
	c.due = c.due[:0]
}

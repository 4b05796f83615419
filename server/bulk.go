package server

import (
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// bulk has a session do more at once while the callers of all that arrives have so many requests under way that answers may wait for
// each other, and this server is idle enough.
type bulk struct {
	session conn.Session
	idle    func() bool

	mu     sync.Mutex // guards what follows
	inRow  int        // requests, without one that is in a hurry
	last   time.Time
	gather time.Duration // the shortest wait of any of the last bulkFrom that were counted
	next   time.Duration // of those since
}

const (
	bulkFrom = 64 // requests in a row
	bulkFor  = 10 * time.Millisecond
)

// arrived takes note of a request.
func (b *bulk) arrived(d *conn.Delivery, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gather := wire.Gather(&d.Message)
	switch {
	case gather == 0 || !b.idle():
		if b.inRow > bulkFrom {
			b.session.Gather(0, time.Time{})
		}
		b.inRow = 0
		return
	case now.Sub(b.last) > bulkFor:
		b.inRow = 0
	}
	if b.inRow%bulkFrom == 0 {
		b.gather, b.next = b.next, gather
	}
	b.next = min(b.next, gather)
	b.inRow++
	b.last = now
	if b.inRow > bulkFrom {
		b.session.Gather(min(b.gather, b.next), now.Add(bulkFor))
	}
}

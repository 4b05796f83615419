package server

import (
	"context"
	"sync"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// An outlet is where answers go in a session.
type outlet struct {
	session   conn.Session
	publisher conn.Publisher
}

// outlets hands out the latest outlet to those whose own has ended.
type outlets struct {
	mu      sync.Mutex // guards what follows
	latest  outlet
	changed chan struct{} // closed when there is another; nil if nobody waits
}

func (o *outlets) set(next outlet) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.latest = next
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// next waits for an outlet of another session, until ctx ends, or last is closed: there are no more then.
func (o *outlets) next(ctx context.Context, than conn.Session, last <-chan struct{}) (_ outlet, ok bool) {
	for {
		o.mu.Lock()
		latest := o.latest
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		changed := o.changed
		o.mu.Unlock()
		if latest.session != than {
			return latest, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return outlet{}, false
		case <-last:
			return outlet{}, false
		}
	}
}

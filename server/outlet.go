package server

import (
	"context"
	"errors"
	"sync"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// An outlet is where answers go in a session.
type outlet struct {
	session     conn.Session
	publisher   conn.Publisher
	unconfirmed *unconfirmed
}

// close gives back what the outlet has in its session, which may live on.
func (o *outlet) close() {
	if o.publisher == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	o.publisher.Close(ctx) // an error: the session is over, or keeps it
}

// publish publishes a message, after the alarm if there is one.
func (o *outlet) publish(ctx context.Context, m *conn.Message, confirmed func(bool)) error {
	return o.afterAlarm(ctx, func() error { return o.publisher.Publish(m, confirmed) })
}

// afterAlarm tries again where the broker takes no messages.
func (o *outlet) afterAlarm(ctx context.Context, publish func() error) error {
	for {
		err := publish()
		if !errors.Is(err, conn.ErrBlocked) {
			return err
		}
		blocked := o.session.Blocked()
		if blocked == nil {
			continue // not any more
		}
		select {
		case <-blocked:
		case <-ctx.Done():
			return err
		}
	}
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

// get returns the latest outlet: one without a session if there was none.
func (o *outlets) get() outlet {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.latest
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

package server

import (
	"context"
	"sync"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A lane is a session of one's own with a publisher, opened when it is needed.
type lane struct {
	conn     conn.Dialer
	onReturn func(*conn.Return)

	mu      sync.Mutex // guards current, and is held while dialing: those who wait need the result
	current outlet
}

func (l *lane) open(ctx context.Context) (o outlet, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current.session != nil && l.current.session.Err() == nil {
		return l.current, nil
	}
	if o.session, err = l.conn.Dial(ctx); err != nil {
		return o, err
	}
	if o.publisher, err = o.session.OpenPublisher(ctx, l.onReturn); err != nil {
		o.session.Close(ctx)
		return o, err
	}
	l.current = o
	return o, nil
}

// openSoon is open within a time that holds up nobody for long.
func (l *lane) openSoon(ctx context.Context) (outlet, error) {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	return l.open(ctx)
}

func (l *lane) close(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current.session != nil {
		l.current.session.Close(ctx)
	}
}

package status

import (
	"context"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A Link is what a [Board] looks at of a connection with the broker. A conn.Manager is one.
type Link interface {
	State() conn.State
	Watch(ctx context.Context) <-chan conn.State
	Session(ctx context.Context) (conn.Session, error)
}

// A link remembers what is over.
type link struct {
	name string
	Link

	mu       sync.Mutex // guards what follows
	sessions int
	err      error // the last one; may be nil
	erredAt  time.Time
}

// watch takes note of what happens until ctx ends.
func (l *link) watch(ctx context.Context) {
	for s := range l.Watch(ctx) {
		l.mu.Lock()
		if s.Phase == conn.Connected {
			l.sessions++
		}
		if s.Err != nil {
			l.err, l.erredAt = s.Err, time.Now()
		}
		l.mu.Unlock()
	}
}

func (l *link) connection() Connection {
	s := l.State()
	c := Connection{
		Name: l.name, State: s.Phase.String(), For: time.Since(s.Since).Seconds(), Broker: printable(s.Addr), Attempt: s.Attempt,
	}
	if s.Phase == conn.Connected && l.blocked() {
		c.State = "blocked"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Sessions = l.sessions
	if l.err != nil {
		c.Error, c.ErrorAgo = printable(cut(l.err.Error(), maxText)), time.Since(l.erredAt).Seconds()
	}
	return c
}

// blocked reports whether the broker takes no messages, for an alarm.
func (l *link) blocked() bool {
	ended, cancel := context.WithCancel(context.Background())
	cancel() // the session that there is, without waiting for another
	session, err := l.Session(ended)
	return err == nil && session.Blocked() != nil
}

func (l *link) check() Check {
	s := l.State()
	c := Check{Name: l.name, OK: s.Phase == conn.Connected, For: time.Since(s.Since).Seconds(), Text: s.Phase.String()}
	switch {
	case c.OK:
		c.Text += " to " + printable(s.Addr)
	case s.Err != nil:
		c.Text += ": " + printable(cut(s.Err.Error(), maxText))
	}
	return c
}

package status

import (
	"context"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A Link is the connection of one [conn.Manager] with the broker. It is told by hooks, and watches the manager.
type Link struct {
	name string

	mu       sync.Mutex // guards what follows
	manager  *conn.Manager
	up       bool
	since    time.Time // that it is up, or not
	sessions int
	err      error // the last one; may be nil
	erredAt  time.Time
}

// Hooks returns what the manager is to be given, with [conn.WithHooks].
func (l *Link) Hooks() conn.Hooks {
	return conn.Hooks{
		Connected:  func(time.Duration) { l.turn(true, nil) },
		Lost:       func(err error, _ time.Duration) { l.turn(false, err) },
		DialFailed: func(err error) { l.turn(false, err) },
	}
}

func (l *Link) turn(up bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up {
		l.sessions++
	}
	if up != l.up {
		l.up, l.since = up, time.Now()
	}
	if err != nil {
		l.err, l.erredAt = err, time.Now()
	}
}

// Watch sets the manager, once there is one.
func (l *Link) Watch(m *conn.Manager) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.manager = m
}

func (l *Link) connection() Connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Connection{Name: l.name, State: "connecting", For: time.Since(l.since).Seconds(), Sessions: l.sessions}
	if l.err != nil {
		c.Error, c.ErrorAgo = printable(cut(l.err.Error())), time.Since(l.erredAt).Seconds()
	}
	if l.manager == nil {
		return c
	}
	s := l.manager.State()
	c.State, c.Broker, c.Attempt = s.Phase.String(), printable(s.Addr), s.Attempt
	if s.Phase == conn.Connected && blocked(l.manager) {
		c.State = "blocked"
	}
	return c
}

// blocked reports whether there is a session that takes no messages, for an alarm of the broker.
func blocked(m *conn.Manager) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a session that is there is handed out all the same
	s, err := m.Session(ctx)
	return err == nil && s.Blocked() != nil
}

func (l *Link) check() Check {
	c := l.connection()
	check := Check{Name: l.name, OK: c.State == "connected" || c.State == "blocked", For: c.For, Text: c.State}
	switch {
	case c.State == "blocked":
		check.Text = "connected to " + c.Broker + ", which takes no messages: an alarm"
	case check.OK:
		check.Text += " to " + c.Broker
	case c.Error != "":
		check.Text += ": " + c.Error
	}
	return check
}

package conntest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A session is a [conn.Session]. All but b, c, done, events and ended is guarded by the broker's mutex.
type session struct {
	b      *Broker
	c      *Connector
	done   chan struct{}
	events *mailbox      // returns and confirmations
	ended  chan struct{} // closed when none of its callbacks runs any more

	leaving   bool // gets no more deliveries
	over      bool
	cause     error
	blocked   chan struct{} // nil while the broker takes messages
	running   int           // goroutines
	consumers []*consumer
	unsettled []*unsettled // oldest first
	late      []func()     // publishes on their way; nil if none is late
}

// open starts a session.
func (c *Connector) open() *session {
	s := &session{b: c.b, c: c, done: make(chan struct{}), ended: make(chan struct{}), events: newMailbox()}
	if c.b.blocked {
		s.blocked = make(chan struct{})
	}
	c.b.sessions = append(c.b.sessions, s)
	s.start(func() { s.events.run(s.done) })
	return s
}

// start runs f on a goroutine of the session.
func (s *session) start(f func()) {
	s.running++
	s.b.wg.Go(func() {
		f()
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		s.running--
		if s.over && s.running == 0 {
			close(s.ended)
		}
	})
}

// endAll ends several sessions at the same time: none gets what another gives back.
func endAll(sessions []*session, cause error) {
	for _, s := range sessions {
		s.leaving = true
	}
	for _, s := range sessions {
		s.end(cause)
	}
}

// end ends the session: its consumers leave, what they have not settled goes back, its exclusive queues are deleted.
func (s *session) end(cause error) {
	if s.over {
		return
	}
	s.leaving, s.over, s.cause = true, true, cause
	close(s.done)
	s.unblock()
	s.b.sessions = slices.DeleteFunc(s.b.sessions, func(other *session) bool { return other == s })

	for _, u := range s.unsettled {
		u.q.unacked--
		u.q.giveBack(u.m)
	}
	s.unsettled = nil
	for _, c := range s.consumers {
		c.q.leave(c)
	}
	for _, q := range slices.Clone(s.b.queues) {
		if q.owner == s {
			q.delete()
		} else {
			q.run()
		}
	}
}

func (s *session) unblock() {
	if s.blocked != nil {
		close(s.blocked)
		s.blocked = nil
	}
}

// closedErr is the error of an operation on a session that is over. The cause is text only, or a lost session would pass
// for a missing queue.
func (s *session) closedErr(op string) error {
	if s.cause != conn.ErrClosed {
		return fmt.Errorf("%s: %w: %v", op, conn.ErrClosed, s.cause)
	}
	return fmt.Errorf("%s: %w", op, conn.ErrClosed)
}

// do runs f, an operation whose errors the session survives.
func (s *session) do(ctx context.Context, op string, f func() error) error {
	s.c.awake()
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	err := ctx.Err()
	switch {
	case s.over:
		return s.closedErr(op)
	case err == nil:
		err = f()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

func (s *session) DeclareExchange(ctx context.Context, e conn.Exchange) error {
	return s.do(ctx, "declare exchange "+e.Name, func() error {
		if !slices.Contains([]string{"direct", "fanout", "topic", "headers"}, e.Kind) {
			err := &conn.Error{Code: 503, Reason: fmt.Sprintf("COMMAND_INVALID - unknown exchange type '%s'", e.Kind)}
			s.end(err)
			return err
		}
		return s.b.declareExchange(e)
	})
}

func (s *session) DeclareQueue(ctx context.Context, declared conn.Queue) (info conn.QueueInfo, err error) {
	err = s.do(ctx, strings.TrimSuffix("declare queue "+declared.Name, " "), func() error {
		q, err := s.b.declareQueue(declared, s)
		if err == nil {
			info = q.info()
		}
		return err
	})
	return info, err
}

func (s *session) InspectQueue(ctx context.Context, name string) (info conn.QueueInfo, err error) {
	err = s.do(ctx, "inspect queue "+name, func() error {
		if s.c.noInspect {
			return &conn.Error{Code: 403, Reason: fmt.Sprintf("ACCESS_REFUSED - configure access to queue '%s' in vhost '/' refused", name)}
		}
		q, err := s.b.usable(name, s)
		if err == nil {
			info = q.info()
		}
		return err
	})
	return info, err
}

func (q *queue) info() conn.QueueInfo {
	return conn.QueueInfo{Name: q.Name, Messages: len(q.ready), Consumers: len(q.consumers)}
}

func (s *session) BindQueue(ctx context.Context, queue, exchange, key string) error {
	return s.do(ctx, "bind queue "+queue, func() error {
		x, err := s.b.bindable(exchange)
		if err != nil {
			return err
		}
		q, err := s.b.usable(queue, s)
		if err != nil {
			return err
		}
		x.bind(q, key)
		return nil
	})
}

func (s *session) DeleteExchange(ctx context.Context, name string) error {
	return s.do(ctx, "delete exchange "+name, func() error {
		if name == "" || strings.HasPrefix(name, "amq.") {
			return reserved("exchange", name)
		}
		delete(s.b.exchanges, name)
		return nil
	})
}

func (s *session) DeleteQueue(ctx context.Context, name string) error {
	return s.do(ctx, "delete queue "+name, func() error {
		if s.b.queue(name) == nil {
			return nil
		}
		q, err := s.b.usable(name, s)
		if err == nil {
			q.delete()
		}
		return err
	})
}

func (s *session) Gather(time.Duration, time.Time) {}

func (s *session) Blocked() <-chan struct{} {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.blocked
}

func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Err() error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.cause
}

func (s *session) Close(ctx context.Context) error {
	s.b.mu.Lock()
	s.end(conn.ErrClosed)
	s.b.mu.Unlock()
	return s.quiet(ctx)
}

// wait lets d pass, and reports whether the session outlives it.
func (s *session) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

func (s *session) quiet(ctx context.Context) error {
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close session: %w", ctx.Err())
	}
}

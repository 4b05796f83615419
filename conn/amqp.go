package conn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"
)

const (
	opTimeout    = 10 * time.Second // for the broker to answer one synchronous method
	closeTimeout = 5 * time.Second  // for the broker to confirm a close
)

// A session is a [Session] over amqp091-go: one connection to publish on and one to consume on, because a broker that
// takes no messages stops reading from whoever publishes, and acknowledgements must still get through.
type session struct {
	addr     string
	pub, sub *link
	done     chan struct{}
	control  control
	block    atomic.Pointer[block] // nil while the broker takes messages

	mu    sync.Mutex // guards cause, and that wg grows no more once there is one
	cause error
	wg    sync.WaitGroup // all goroutines of the session
}

// A block is one spell in which the broker takes no messages.
type block struct {
	reason string
	over   chan struct{}
}

func dialSession(ctx context.Context, e endpoint, o *options) (*session, error) {
	s := &session{addr: e.host, done: make(chan struct{}), control: newControl()}
	var both errgroup.Group
	both.Go(func() (err error) { s.pub, err = dialLink(ctx, e, o.name+" publish", o); return err })
	both.Go(func() (err error) { s.sub, err = dialLink(ctx, e, o.name+" consume", o); return err })
	if err := both.Wait(); err != nil {
		for _, l := range []*link{s.pub, s.sub} {
			if l != nil {
				l.sock.Conn.Close()
			}
		}
		return nil, err
	}
	for _, l := range []*link{s.pub, s.sub} {
		if l.line != nil {
			l.line.attach(s.die, l.conn.Config.Heartbeat)
		}
	}
	pub := s.pub.conn.NotifyClose(make(chan *amqp.Error, 1))
	sub := s.sub.conn.NotifyClose(make(chan *amqp.Error, 1))
	blocked := s.pub.conn.NotifyBlocked(make(chan amqp.Blocking, 1))
	s.wg.Go(func() { s.watch(pub, sub, blocked) })
	return s, nil
}

// watch follows what the library tells of the connections, until both are closed.
func (s *session) watch(pub, sub <-chan *amqp.Error, blocked <-chan amqp.Blocking) {
	for pub != nil || sub != nil || blocked != nil {
		select {
		case err, ok := <-pub:
			s.lost(s.pub, err, ok)
			pub = nil
		case err, ok := <-sub:
			s.lost(s.sub, err, ok)
			sub = nil
		case b, ok := <-blocked:
			if !ok {
				b.Active, blocked = false, nil // whoever waits is freed by the end of the session
			}
			s.setBlocked(b)
		}
	}
}

// lost ends the session with its connection. It closes the socket at once: the library gets to that only after it has
// locked each channel, and a publish that is stuck in the socket holds such a lock.
func (s *session) lost(l *link, err *amqp.Error, ok bool) {
	l.sock.Conn.Close()
	if ok {
		s.die(ending(err))
	} else { // by Close, which has said so before, or lost before the library knew that somebody listens
		s.die(errors.New("connection lost"))
	}
}

func (s *session) setBlocked(b amqp.Blocking) {
	if old := s.block.Load(); b.Active && old == nil {
		s.block.Store(&block{reason: b.Reason, over: make(chan struct{})})
	} else if !b.Active && old != nil {
		s.block.Store(nil)
		close(old.over)
	}
}

// start runs f on a goroutine of the session, unless the session is over.
func (s *session) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return false
	}
	s.wg.Go(f)
	return true
}

// die ends a live session at once. On one that is over already it does nothing: a close in good order goes on. If the broker has said why it
// ends a connection, that is the cause, and what came of it is not.
func (s *session) die(cause error) {
	for _, l := range []*link{s.pub, s.sub} {
		if l.line == nil {
			continue
		}
		if said := l.line.farewell.Load(); said != nil {
			cause = said
		}
	}
	if s.end(cause) {
		s.cut()
	}
}

// end marks the session as over and reports whether it was not before: the first cause stays.
func (s *session) end(cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil {
		return false
	}
	s.cause = cause
	close(s.done)
	return true
}

// cut closes the sockets, which frees whoever is stuck in the library.
func (s *session) cut() {
	s.pub.sock.Conn.Close()
	s.sub.sock.Conn.Close()
}

// wait waits for the goroutines of a session that is over. Only a callback of its user that blocks can outlast ctx.
func (s *session) wait(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		for _, l := range []*link{s.pub, s.sub} {
			if l.line != nil {
				l.line.wait()
			}
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Err() error {
	select {
	case <-s.done:
	default:
		return nil // without the lock, for each message
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

func (s *session) Gather(wait time.Duration, until time.Time) {
	for _, l := range []*link{s.pub, s.sub} {
		if l.line != nil {
			l.line.reader.pace.set(wait, until)
		}
	}
}

func (s *session) Blocked() <-chan struct{} {
	if b := s.block.Load(); b != nil {
		return b.over
	}
	if s.pub.line != nil {
		return s.pub.line.blocked()
	}
	return nil
}

// closedErr is the error of an operation on a session that is over.
func (s *session) closedErr(op string) error {
	if cause := s.Err(); cause != nil && cause != ErrClosed {
		return fmt.Errorf("%s: %w: %v", op, ErrClosed, cause) // not %w: that nothing was found, say, ended the session, not op
	}
	return fmt.Errorf("%s: %w", op, ErrClosed)
}

func (s *session) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if !s.end(ErrClosed) {
		s.wait(ctx)
		return nil
	}
	// The library's own deadline does not hold on a blocked connection; closing the sockets does.
	stop := context.AfterFunc(ctx, s.cut)
	defer stop()
	deadline, _ := ctx.Deadline()
	subClosed := make(chan error, 1)
	go func() { subClosed <- s.sub.close(deadline) }()
	err := errors.Join(s.pub.close(deadline), <-subClosed)
	s.wait(ctx)
	if err != nil {
		return fmt.Errorf("close session: %w", fromLibrary(err))
	}
	return nil
}

// call runs f, which calls synchronous methods of the library, on a goroutine of its own: they have no timeout. An
// answer that takes longer than opTimeout costs the session its life. If ctx ends before, the caller goes, and undo, if
// any, reverts what f has done.
func (s *session) call(ctx context.Context, op string, f func() error, undo func()) error {
	result := make(chan error)
	started := s.start(func() {
		watchdog := time.AfterFunc(opTimeout, func() { s.die(fmt.Errorf("%s: no answer within %v", op, opTimeout)) })
		err := f()
		watchdog.Stop()
		select {
		case result <- err:
		case <-ctx.Done():
			if err == nil && undo != nil {
				undo()
			}
		}
	})
	if !started {
		return s.closedErr(op)
	}
	select {
	case err := <-result:
		if err == nil {
			return nil
		}
		switch {
		case errors.Is(err, amqp.ErrClosed), cutOff(err) && s.Err() != nil: // of two connections the other may be why
			return s.closedErr(op)
		case cutOff(err):
			return fmt.Errorf("%s: %w: %w", op, ErrClosed, fromLibrary(err))
		}
		return fmt.Errorf("%s: %w", op, fromLibrary(err))
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", op, ctx.Err())
	}
}

// ending tells why the library has ended a channel or a connection.
func ending(err *amqp.Error) error {
	if err == amqp.ErrClosed { // nobody has closed it here
		return errors.New("connection lost: the broker spoke on a channel that is not open")
	}
	return fromLibrary(err)
}

// fromLibrary turns an error of the library into one of ours.
func fromLibrary(err error) error {
	var e *amqp.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e == nil || e == amqp.ErrClosed:
		return ErrClosed
	case e.Server:
		return &Error{Code: e.Code, Reason: e.Reason}
	case unreadable(e):
		return fmt.Errorf("connection lost: %w: %s", ErrUnreadable, e.Reason)
	default:
		return fmt.Errorf("connection lost: %s", e.Reason)
	}
}

// cutOff tells the errors of a connection that the network has ended.
func cutOff(err error) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && e != nil && !e.Server && e.Code == amqp.FrameError && !unreadable(e)
}

// unreadable tells the errors that the library's reader ended the connection for from those of the network: it keeps only
// their text.
func unreadable(e *amqp.Error) bool {
	for _, own := range []*amqp.Error{amqp.ErrSyntax, amqp.ErrFrame, amqp.ErrFrameTooLarge, amqp.ErrFieldType} {
		if e.Reason == own.Error() {
			return true
		}
	}
	return false
}

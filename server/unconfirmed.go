package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
)

// unconfirmed are the requests of a session that are answered, and not acknowledged before the broker has confirmed the
// answers. No worker waits for that: it happens on the session's own goroutine.
//
// Replies and acknowledgements take different connections. Without the confirmation the broker may have the
// acknowledgement and, of a server that is killed now, not the reply: nobody would ever send either again.
//
// There are no more of them than the broker hands over before it has acknowledgements.
type unconfirmed struct {
	session conn.Session
	ack     func(*job)
	open    atomic.Int64  // that are not acknowledged
	none    chan struct{} // holds a token if there may be none
	timer   *time.Timer   // for those that are never confirmed

	mu      sync.Mutex         // guards what follows
	waiting map[*job]time.Time // since when; zero before it was published
	armed   bool               // the timer
	closed  bool
}

func newUnconfirmed(session conn.Session, ack func(*job)) *unconfirmed {
	u := &unconfirmed{session: session, ack: ack, none: make(chan struct{}, 1), waiting: make(map[*job]time.Time)}
	u.timer = time.AfterFunc(confirmTimeout, u.overdue)
	u.timer.Stop()
	return u
}

// publish publishes the answer to a request, which is acknowledged when that is confirmed. After an error it is not.
func (u *unconfirmed) publish(ctx context.Context, j *job, m *conn.Message) error {
	confirmed := func(bool) { u.confirmed(j) } // one that is refused, too: once more would not help
	return j.afterAlarm(ctx, func() error {
		if !u.add(j, m) {
			return u.session.Err()
		}
		if err := j.publisher.Publish(m, confirmed); err != nil && u.take(j) {
			u.leave()
			return err
		}
		failpoint.Hit("published")
		u.published(j)
		return nil
	})
}

// add comes before the publish, since the confirmation may come before the end of it. It is false if the session is over.
func (u *unconfirmed) add(j *job, m *conn.Message) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	j.answer = m
	u.waiting[j] = time.Time{}
	u.open.Add(1)
	return true
}

// published starts the time that the broker has to confirm an answer, which it may have done.
func (u *unconfirmed) published(j *job) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, waits := u.waiting[j]; !waits {
		return
	}
	u.waiting[j] = time.Now()
	if !u.armed {
		u.armed = true
		u.timer.Reset(confirmTimeout)
	}
}

// take reports whether a request still waited for the confirmation. It does not any more.
func (u *unconfirmed) take(j *job) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, waits := u.waiting[j]
	delete(u.waiting, j)
	return waits
}

func (u *unconfirmed) confirmed(j *job) {
	if u.take(j) {
		failpoint.Hit("confirmed")
		u.end(j)
	}
}

// end acknowledges a request that does not wait any more.
func (u *unconfirmed) end(j *job) {
	u.ack(j)
	u.leave()
}

func (u *unconfirmed) leave() {
	if u.open.Add(-1) > 0 {
		return
	}
	select {
	case u.none <- struct{}{}:
	default:
	}
}

// overdue acknowledges what has waited for too long.
func (u *unconfirmed) overdue() {
	for _, j := range u.late(time.Now()) {
		u.end(j)
	}
}

func (u *unconfirmed) late(now time.Time) (late []*job) {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := confirmTimeout
	for j, since := range u.waiting {
		switch left := since.Add(confirmTimeout).Sub(now); {
		case since.IsZero():
		case left <= 0:
			delete(u.waiting, j)
			late = append(late, j)
		default:
			next = min(next, left)
		}
	}
	if u.armed = len(u.waiting) > 0; u.armed {
		u.timer.Reset(next)
	}
	return late
}

// close ends the waiting, in a session that is over, and returns whose answers may be lost.
func (u *unconfirmed) close() (lost []*job) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	u.timer.Stop()
	for j := range u.waiting {
		lost = append(lost, j)
	}
	clear(u.waiting)
	return lost
}

// unacknowledged is the number of those that are left. In a session that is over, or was none, that is none.
func (u *unconfirmed) unacknowledged() int64 {
	if u == nil || u.session.Err() != nil {
		return 0
	}
	return u.open.Load()
}

// drain waits until all are acknowledged, or the session is over.
func (u *unconfirmed) drain() {
	for u.unacknowledged() > 0 {
		select {
		case <-u.none:
		case <-u.session.Done():
			return
		}
	}
}

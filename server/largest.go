package server

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// largest is how many bytes a reply may have: what the server allows, unless the broker takes less. That can only be learned from a
// reply that costs a session. Its request comes back, and the stored reply would cost the next.
type largest struct {
	own    int
	broker atomic.Pointer[learned] // nil: nothing
}

type learned struct {
	most int
	at   time.Time
}

// relearn is how long what the broker takes is known: it may be changed.
const relearn = time.Minute

func (l *largest) get() int {
	b := l.broker.Load()
	if b == nil || time.Since(b.at) >= relearn {
		return l.own
	}
	return min(l.own, b.most)
}

// learn takes note of why a session has ended.
func (l *largest) learn(err error) {
	if most, ok := wire.LargestMessage(err.Error()); ok && errors.Is(err, conn.ErrPrecondition) {
		l.broker.Store(&learned{most, time.Now()})
	}
}

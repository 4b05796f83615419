package gateway

import (
	"errors"
	"io"
	"sync/atomic"
)

// errFull ends the reading of a body that the budget has no room for.
var errFull = errors.New("budget is used up")

// A budget is how many bytes of bodies there may be at a time, of requests and of replies.
type budget struct {
	limit int64
	held  atomic.Int64
}

// fits reports whether there is room for n more bytes. Others may be faster.
func (b *budget) fits(n int64) bool { return b.held.Load()+n <= b.limit }

// A share is what one request has of a budget, until it is given back.
type share struct {
	of   *budget
	held int64
}

// hold takes n bytes, which are there already, and reports whether the budget has had room for them.
func (s *share) hold(n int) bool {
	s.held += int64(n)
	return s.of.held.Add(int64(n)) <= s.of.limit
}

func (s *share) giveBack() {
	s.of.held.Add(-s.held)
	s.held = 0
}

// A metered body takes its share as it arrives: who only says how long it will be takes nothing from others.
type metered struct {
	io.Reader
	share *share
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 && !m.share.hold(n) {
		return n, errFull
	}
	return n, err
}

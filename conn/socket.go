package conn

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A socket is the network connection under the library. Its deadline for each write is what keeps a dead peer from
// blocking the library, and us, for ever.
type socket struct {
	net.Conn
	timeout atomic.Int64 // nanoseconds for a write
	lost    atomic.Bool  // reading has failed, and not since the peer has hung up
	overdue atomic.Bool  // the peer has let a deadline pass
	first   atomic.Int32 // the first byte of the peer, and 256; 0 before it

	mu     sync.Mutex  // held while something is written; guards what follows, and changes of behind
	until  time.Time   // of who is in a hurry; else zero
	left   []byte      // what was not written by then
	behind atomic.Bool // there is something left
}

// socketOf returns the socket below a connection, or nil.
func socketOf(c net.Conn) *socket {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, _ := c.(*socket)
	return s
}

// hurry has the writes that follow take so long together, at most, or all the time that they need if patience is 0. It writes what
// is left of those before.
func (s *socket) hurry(patience time.Duration) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until = (time.Time{}); patience > 0 {
		s.until = time.Now().Add(patience)
	}
	if !s.behind.Swap(false) {
		return nil
	}
	left := s.left
	s.left = nil
	_, err := s.write(left)
	return err
}

// late reports whether something is left that was to be written in a hurry. It never waits.
func (s *socket) late() bool { return s != nil && s.behind.Load() }

func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late() { // b is the rest of what TLS makes of one write
		s.left = append(s.left, b...)
		return len(b), nil
	}
	return s.write(b)
}

// write is called with the mutex locked.
func (s *socket) write(b []byte) (int, error) {
	deadline := s.until
	if deadline.IsZero() {
		deadline = time.Now().Add(time.Duration(s.timeout.Load()))
	}
	if err := s.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(b)
	if err == nil {
		return n, nil
	}
	if !s.until.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) { // TLS must not learn of it: it would be of no use any more
		s.left = append(s.left, b[n:]...)
		s.behind.Store(true)
		return len(b), nil
	}
	s.Conn.Close() // half a frame may be out: nothing can follow it
	return n, err
}

func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 && s.first.Load() == 0 {
		s.first.Store(256 + int32(b[0]))
	}
	if err != nil && err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		s.lost.Store(true)
		s.overdue.Store(errors.Is(err, os.ErrDeadlineExceeded))
	}
	return n, err
}

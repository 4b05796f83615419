package conn

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout lets the kernel give up on a connection whose peer acknowledges nothing for d, see RFC 5482. It covers
// data that a write has handed to the kernel already, which no write deadline sees.
func userTimeout(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		}); e != nil {
			return e
		}
		return err
	}
}

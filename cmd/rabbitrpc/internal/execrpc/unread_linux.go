package execrpc

import (
	"os"

	"golang.org/x/sys/unix"
)

// unread reports whether it is certain that nothing of the last n bytes written to a pipe was read, nor ever will be: nobody
// has its other end any more, and as many bytes or more are left in it.
func unread(pipe *os.File, n int) (certain bool) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		end := []unix.PollFd{{Fd: int32(fd)}}
		if _, err := unix.Poll(end, 0); err != nil || end[0].Revents&unix.POLLERR == 0 {
			return // somebody may be about to read it
		}
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ) // FIONREAD, which Linux answers at either end
		certain = err == nil && left >= n
	})
	return certain && err == nil
}

package execrpc

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent has the kernel kill a program when this process ends without having done so. What it does not do: reach
// the program's children, or programs that change their user.
//
// The kernel takes the thread that has started the program for its parent. The Go runtime ends a thread only if a goroutine
// that is locked to it ends, and nothing in this daemon locks one.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// wait returns when the program has ended and its output was read. The program is reaped after its group was killed: until
// then its number, which is the group's, is nobody else's.
func (g *group) wait() error {
	for {
		err := unix.Waitid(unix.P_PID, g.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.killRest()
	return g.cmd.Wait()
}

package execrpc

import (
	"errors"
	"os"
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
	err := g.cmd.Wait()
	if os.Getpid() == 1 {
		go reap(g.cmd.Process.Pid)
	}
	return err
}

// reap takes leave of what was killed with a program: in a container, where this process is the init process, it inherits that.
func reap(group int) {
	for {
		if _, err := unix.Wait4(-group, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return // nobody is left
		}
	}
}

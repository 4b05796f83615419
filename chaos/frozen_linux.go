package chaos

import "golang.org/x/sys/unix"

// frozen reports whether every thread of a child is stopped: SIGSTOP takes effect on one after the other.
func frozen(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

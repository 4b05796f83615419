//go:build unix

package chaos

import "syscall"

type signal = syscall.Signal

const (
	interrupt = syscall.SIGINT
	terminate = syscall.SIGTERM
	kill      = syscall.SIGKILL
	pause     = syscall.SIGSTOP
	resume    = syscall.SIGCONT
)

// ownGroup makes a command of an account the leader of a session, and so of a process group.
func ownGroup(a *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

func signalGroup(leader int, s signal) error { return syscall.Kill(-leader, s) }

func signalProcess(pid int, s signal) error { return syscall.Kill(pid, s) }

//go:build unix

package chaos

import "syscall"

type signal = syscall.Signal

const (
	terminate = syscall.SIGTERM
	kill      = syscall.SIGKILL
	pause     = syscall.SIGSTOP
	resume    = syscall.SIGCONT
)

// ownGroup makes a command the leader of a session, and so of a process group.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func signalGroup(leader int, s signal) error { return syscall.Kill(-leader, s) }

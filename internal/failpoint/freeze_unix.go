//go:build unix && !linux

package failpoint

import (
	"os"
	"syscall"
)

// freeze may return, and its goroutine go on for a moment, before the process stops.
func freeze() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

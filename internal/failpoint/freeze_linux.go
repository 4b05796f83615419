package failpoint

import (
	"os"
	"runtime"
	"syscall"
)

// freeze sends the signal to its own thread. If it went to the process another thread might take it, and this one would
// go on for a moment, past the point.
func freeze() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGSTOP)
}

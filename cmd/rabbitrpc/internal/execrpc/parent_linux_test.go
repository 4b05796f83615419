package execrpc_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A program does not outlive the process that has started it, however that ends.
func TestParentIsKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self, "parent", file)
	parent.Env = append(os.Environ(), asProgram+"=yes", noSleep+"="+noSleepValue)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	for pid, deadline := []byte(nil), time.Now().Add(patience); len(pid) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		pid, _ = os.ReadFile(file)
	}
	parent.Process.Kill()
	parent.Wait()
	gone(t, file)
}

func init() {
	// init FILE: serves leave, and waits until no child is left, not even a dead one
	programs["init"] = func(args []string) int {
		self, _ := os.Executable()
		u, err := execrpc.New(&execrpc.Config{Command: []string{self, "leave", args[0]}, Names: []string{"m"}, PassEnv: []string{asProgram, noSleep}}, slog.Default())
		if err != nil {
			return 1
		}
		if _, err := u.Handle(context.Background(), &rpc.Request{}); err != nil {
			return 2
		}
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); errors.Is(err, unix.ECHILD) {
				return 0
			}
		}
		return 3
	}
}

// In a container, where it is the init process, a daemon leaves no zombies.
func TestInitProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := exec.Command(self, "init", filepath.Join(t.TempDir(), "pid"))
	p.Env = append(os.Environ(), asProgram+"=yes", noSleep+"="+noSleepValue)
	p.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := p.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("may not make a namespace for processes")
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

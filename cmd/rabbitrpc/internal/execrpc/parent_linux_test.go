package execrpc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
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

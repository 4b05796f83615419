package failpoint

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A process that freezes does nothing after the point until it is told to go on.
func TestFreeze(t *testing.T) {
	for range 20 {
		printed, err := os.Create(filepath.Join(t.TempDir(), "printed"))
		if err != nil {
			t.Fatal(err)
		}
		defer printed.Close()
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), "RABBITRPC_FAILPOINT_CHILD=1", Env+"=first=freeze", "GORACE=atexit_sleep_ms=0")
		c.Stdout = printed
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer c.Process.Kill() // a frozen process would stay
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(c.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatalf("the process ended (%v, %v), want it frozen", status, err)
		}
		if got := read(t, printed.Name()); got != "" {
			t.Fatalf("frozen after it printed %q", got)
		}
		if err := c.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		if got, want := read(t, printed.Name()), "passed once\npassed twice\n"; got != want {
			t.Fatalf("printed %q, want %q", got, want)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

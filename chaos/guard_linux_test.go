package chaos_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Whatever becomes of the process that started a node, the node ends with it.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		how    string         // does the process die
		signal syscall.Signal // that it gets, with its process group; 0 if it dies of itself
		early  bool           // it gets the signal as soon as the broker's process exists, or else when the node answers
	}{
		{name: "panic", how: "panic"},
		{name: "os.Exit", how: "exit"},
		{name: "SIGINT while the node boots", how: "wait", signal: syscall.SIGINT, early: true},
		{name: "SIGHUP while the node boots", how: "wait", signal: syscall.SIGHUP, early: true},
		{name: "SIGKILL", how: "wait", signal: syscall.SIGKILL},
		{name: "SIGKILL while the node boots", how: "wait", signal: syscall.SIGKILL, early: true},
		{name: "SIGKILL while the node is paused", how: "paused", signal: syscall.SIGKILL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "TMPDIR="+temp, crashEnv+"="+tt.how)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait() // the second time, unless the test fails
			defer cmd.Process.Kill()

			if tt.early {
				eventually(t, "no broker is started", func() bool { return len(inFolder(temp, "*/run/*")) == 2 })
			} else if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
				t.Fatalf("process says %q, want ready", line)
			}
			if tt.signal != 0 {
				if processesOf(temp) < 4 {
					t.Error("the process, its guard, epmd and the broker are not found: this test sees nothing")
				}
				if err := syscall.Kill(-cmd.Process.Pid, tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			cmd.Wait() // the error is how it died
			eventually(t, "folder is left", func() bool { return len(inFolder(temp, "*")) == 0 })
			eventually(t, "process is left", func() bool { return processesOf(temp) == 0 })
		})
	}
}

// processesOf counts the processes with temp in their environment, which are all that a node and its owner start.
func processesOf(temp string) (count int) {
	for _, f := range inFolder("/proc", "[0-9]*/environ") {
		env, err := os.ReadFile(f) // of a process that has ended: an error, or nothing
		if err == nil && bytes.Contains(env, []byte(temp)) {
			count++
		}
	}
	return count
}

func inFolder(folder, pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(folder, pattern))
	return found
}

func eventually(t *testing.T, failure string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(failure)
		}
	}
}

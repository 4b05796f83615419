package chaos_test

import (
	"bufio"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Whatever becomes of the process that started a server, the server ends with it.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	const initdb = "data/*.auto.conf" // what it writes before its work of half a second
	for _, tt := range []struct {
		name   string
		server string
		how    string         // does the process die; "wait" if empty
		signal syscall.Signal // that it gets, with its process group; 0 if it dies of itself
		early  string         // it gets the signal as soon as there are such files, and not only when the server answers
		count  int            // of the server's processes then, at least
	}{
		{name: "panic", server: "node", how: "panic"},
		{name: "os.Exit", server: "node", how: "exit"},
		{name: "SIGINT while the node boots", server: "node", signal: syscall.SIGINT, early: "run/*", count: 2},
		{name: "SIGHUP while the node boots", server: "node", signal: syscall.SIGHUP, early: "run/*", count: 2},
		{name: "SIGKILL", server: "node", signal: syscall.SIGKILL, count: 2},
		{name: "SIGKILL while the node boots", server: "node", signal: syscall.SIGKILL, early: "run/*", count: 2},
		{name: "SIGKILL while the node is paused", server: "node", how: "paused", signal: syscall.SIGKILL, count: 2},
		{name: "Process, panic", server: "process", how: "panic"},
		{name: "Process, SIGKILL", server: "process", signal: syscall.SIGKILL, count: 1},
		{name: "Process, SIGKILL while it is paused", server: "process", how: "paused", signal: syscall.SIGKILL, count: 1},
		{name: "node in a namespace, SIGKILL", server: "node in a namespace", signal: syscall.SIGKILL, count: 2},
		{name: "cluster, panic", server: "cluster", how: "panic"},
		{name: "cluster, SIGKILL", server: "cluster", signal: syscall.SIGKILL, count: 7},
		{name: "cluster, SIGKILL while nodes boot", server: "cluster", signal: syscall.SIGKILL, early: "run/*", count: 2},
		{name: "Postgres, os.Exit", server: "postgres", how: "exit"},
		{name: "Postgres, SIGINT while initdb runs", server: "postgres", signal: syscall.SIGINT, early: initdb, count: 1},
		{name: "Postgres, SIGKILL while initdb runs", server: "postgres", signal: syscall.SIGKILL, early: initdb, count: 1},
		{name: "Postgres, SIGKILL", server: "postgres", signal: syscall.SIGKILL, count: 5},
		{name: "Postgres, SIGKILL while it is paused", server: "postgres", how: "paused", signal: syscall.SIGKILL, count: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			switch tt.server {
			case "node in a namespace":
				needNamespace(t)
			case "cluster":
				needCluster(t)
			}
			t.Parallel()
			temp := openTemp(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "TMPDIR="+temp, crashEnv+"="+tt.server+","+cmp.Or(tt.how, "wait"))
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

			names := []string{temp}
			var memory []string
			if tt.early != "" {
				eventually(t, "no server is started", func() bool {
					memory = memoryOf(temp)
					return len(inFolder(temp, "*/"+tt.early)) >= tt.count && (!strings.HasPrefix(tt.server, "postgres") || len(memory) > 0)
				})
			} else if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
				t.Fatalf("process says %q, want ready", line)
			}
			if tt.signal != 0 {
				memory = append(memory, memoryOf(temp)...)
				for _, folder := range inFolder(temp, "*") {
					names = append(names, filepath.Base(folder))
				}
				if len(processesOf(names)) < 1+tt.count {
					t.Error("the guard and the server are not found: this test sees nothing")
				}
				if err := syscall.Kill(-cmd.Process.Pid, tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			cmd.Wait() // the error is how it died
			eventually(t, "folder is left", func() bool { return len(inFolder(temp, "*")) == 0 })
			eventually(t, "process is left", func() bool { return len(processesOf(names)) == 0 })
			eventually(t, "shared memory is left", func() bool { return len(kept(memory)) == 0 })
		})
	}
}

// processesOf returns the folders of the processes that have one of the names in their environment or their command line,
// or work there. A server and its owner start no others: PostgreSQL's write over their environment, which another user's
// process may not show anyway, but title themselves.
func processesOf(names []string) (found []string) {
	for _, p := range inFolder("/proc", "[0-9]*") {
		env, _ := os.ReadFile(filepath.Join(p, "environ")) // of a process that has ended: an error, or nothing
		title, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		folder, _ := os.Readlink(filepath.Join(p, "cwd"))
		about := string(env) + string(title) + folder
		if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(about, name) }) {
			found = append(found, p)
		}
	}
	return found
}

func inFolder(folder, pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(folder, pattern))
	return found
}

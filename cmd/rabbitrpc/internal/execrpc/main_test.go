//go:build unix

package execrpc_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// asProgram makes the test binary one of the programs, which its first argument names.
const asProgram = "EXECRPC_TEST_AS_PROGRAM"

const noSleep, noSleepValue = "GORACE", "atexit_sleep_ms=0" // or each program takes a second more under the race detector

const patience = 20 * time.Second // for what takes milliseconds

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(programs[os.Args[1]](os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

// programs are what the tests serve. Each returns its exit code.
var programs = map[string]func(args []string) int{
	"echo": func([]string) int {
		io.Copy(os.Stdout, os.Stdin)
		return 0
	},
	"environ": func([]string) int {
		json.NewEncoder(os.Stdout).Encode(os.Environ())
		return 0
	},
	"dir": func([]string) int {
		dir, _ := os.Getwd()
		fmt.Println(strconv.Quote(dir))
		return 0
	},
	// say OUT ERR CODE
	"say": func(args []string) int {
		fmt.Print(args[0])
		fmt.Fprint(os.Stderr, args[1])
		code, _ := strconv.Atoi(args[2])
		return code
	},
	"flood": func([]string) int {
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1024)); err != nil {
				return 3
			}
		}
	},
	// hang FILE: writes its number there, and ignores SIGTERM
	"hang": func(args []string) int {
		signal.Ignore(syscall.SIGTERM)
		os.WriteFile(args[0], []byte(strconv.Itoa(os.Getpid())), 0o600)
		time.Sleep(time.Minute)
		return 0
	},
	// deaf FILE: closes its input, and writes its number there then
	"deaf": func(args []string) int {
		os.Stdin.Close()
		os.WriteFile(args[0], []byte(strconv.Itoa(os.Getpid())), 0o600)
		time.Sleep(time.Minute)
		return 0
	},
	// peek N [FILE]: waits for its input, reads N bytes of it, and ends; with FILE it leaves a child behind that has its input
	"peek": func(args []string) int {
		fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}}
		for {
			if n, _ := unix.Poll(fds, -1); n > 0 {
				break
			}
		}
		n, _ := strconv.ParseInt(args[0], 10, 64)
		io.CopyN(io.Discard, os.Stdin, n)
		if len(args) > 1 {
			self, _ := os.Executable()
			child := exec.Command(self, "hang", args[1])
			child.Stdin = os.Stdin
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			child.Start()
			for pid := []byte(nil); len(pid) == 0; time.Sleep(time.Millisecond) {
				pid, _ = os.ReadFile(args[1])
			}
		}
		return 3
	},
	"polite": func([]string) int { // ends with 0 when it is told to
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Print("1")
		<-c
		return 0
	},
	"die": func([]string) int {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	},
	// leave FILE [setsid]: leaves a child behind that holds its output open
	"leave": func(args []string) int {
		self, _ := os.Executable()
		child := exec.Command(self, "hang", args[0])
		child.Stdout = os.Stdout
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: len(args) > 1}
		if err := child.Start(); err != nil {
			return 1
		}
		for {
			if pid, _ := os.ReadFile(args[0]); len(pid) > 0 {
				fmt.Print("1")
				return 0
			}
			time.Sleep(time.Millisecond)
		}
	},
	// parent FILE: serves hang, and waits to be killed
	"parent": func(args []string) int {
		self, _ := os.Executable()
		u, err := execrpc.New(&execrpc.Config{Command: []string{self, "hang", args[0]}, Names: []string{"m"}, PassEnv: []string{asProgram, noSleep}}, slog.Default())
		if err != nil {
			return 1
		}
		u.Handle(context.Background(), &rpc.Request{})
		return 0
	},
	"worker": work,
}

// work answers requests by their method.
func work([]string) int {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return 0
		}
		var q map[string]any
		if err := json.Unmarshal(line, &q); err != nil {
			return 1
		}
		a := map[string]any{"id": q["id"]}
		switch q["method"] {
		case "pid":
			a["body"] = strconv.Itoa(os.Getpid())
		case "echo":
			for _, k := range []string{"body", "body_base64"} {
				if q[k] != nil {
					a[k] = q[k]
				}
			}
		case "question":
			a["body"] = string(line)
		case "exit":
			os.Exit(3)
		case "raw": // the body is what to write
			fmt.Print(q["body"])
			continue
		case "sleep": // and makes a file, if the body names one
			if path, _ := q["body"].(string); path != "" {
				os.WriteFile(path, []byte("asleep"), 0o600)
			}
			time.Sleep(time.Minute)
		case "answer-and-exit":
			fmt.Printf(`{"id": %q, "body": "1"}`+"\n", q["id"])
			os.Exit(0)
		}
		b, _ := json.Marshal(a)
		fmt.Println(string(b))
	}
}

// logged is a log to look at.
type logged = testlog.Log

// serve starts an upstream with one of the programs, and closes it when t ends.
func serve(t *testing.T, change func(*execrpc.Config), program string, args ...string) (*execrpc.Upstream, *logged) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := execrpc.Config{
		Command: append([]string{self, program}, args...),
		Env:     map[string]config.Hidden{asProgram: "yes", noSleep: noSleepValue},
		Names:   []string{"m"},
		Grace:   100 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	log := &logged{}
	u, err := execrpc.New(&cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u, log
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// check compares an error with what it must be, and whether it says that its outcome is in doubt.
func check(t *testing.T, err error, code rpc.Code, message string, executed rpc.Execution, inDoubt bool) {
	t.Helper()
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, message) || e.Executed != executed || errors.Is(err, rpc.ErrInDoubt) != inDoubt {
		t.Errorf("got %#v, want %v with %q, executed %v, in doubt %v", err, code, message, executed, inDoubt)
	}
}

// gone fails if the process whose number is in file does not end.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !ended(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is left behind", pid)
		}
	}
}

// ended reports whether a process has ended, reaped or not.
func ended(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, state, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(state, "Z")
	}
	return syscall.Kill(pid, 0) != nil
}

// eventually waits for something that the log says.
func eventually(t *testing.T, log *logged, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("log without %q:\n%s", text, log.String())
		}
	}
}

// killed ends the process whose number is in file.
func killed(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("process outside of the group: %v", err)
	}
	gone(t, file)
}

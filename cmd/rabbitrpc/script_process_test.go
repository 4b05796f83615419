package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const patience = time.Minute // for what takes seconds

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	checkCode(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func checkCode(ts *testscript.TestScript, want string, err error) {
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

// A background is a command that runs while the script goes on.
type background struct {
	cmd         *exec.Cmd
	said        watched // all that it prints
	done        chan struct{}
	out, errors bytes.Buffer // to read after done
	err         error        // the same
}

var running = make(map[*testscript.TestScript]*background) // scripts run one after the other

func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: start [ARG...]")
	}
	b := &background{done: make(chan struct{})}
	b.cmd = exec.Command(filepath.Join(ts.MkAbs("."), "bin", "rabbitrpc"), args...)
	b.cmd.Env = ts.Value(envKey{}).(*testscript.Env).Vars
	b.cmd.Dir = ts.MkAbs(".")
	b.cmd.Stdout, b.cmd.Stderr = io.MultiWriter(&b.out, &b.said), io.MultiWriter(&b.errors, &b.said)
	ts.Check(b.cmd.Start())
	go func() {
		defer close(b.done)
		b.err = b.cmd.Wait()
	}()
	running[ts] = b
	ts.Defer(func() {
		b.cmd.Process.Kill()
		<-b.done
	})
}

func says(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: says PATTERN")
	}
	b := running[ts]
	found := b.said.watch(regexp.MustCompile("(?m)" + args[0]))
	select {
	case <-found:
	case <-b.done:
		ts.Fatalf("it ended: %v\n%s", b.err, b.said.String())
	case <-time.After(patience):
		ts.Fatalf("it did not say %s\n%s", args[0], b.said.String())
	}
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{
		"INT": os.Interrupt, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": os.Kill,
	}
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal INT|TERM|HUP|KILL")
	}
	ts.Check(running[ts].cmd.Process.Signal(signals[args[0]]))
}

func ended(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ended CODE")
	}
	b := running[ts]
	select {
	case <-b.done:
	case <-time.After(patience):
		ts.Fatalf("it runs still")
	}
	ts.Logf("%s", b.said.String())
	ts.Check(os.WriteFile(ts.MkAbs("out"), b.out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), b.errors.Bytes(), 0o600))
	checkCode(ts, args[0], b.err)
}

// A watched is output that somebody waits for.
type watched struct {
	mu    sync.Mutex // guards what follows
	text  strings.Builder
	want  *regexp.Regexp
	found chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(p)
	w.look()
	return n, err
}

// watch returns a channel that is closed once there is a match.
func (w *watched) watch(want *regexp.Regexp) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.want, w.found = want, make(chan struct{})
	found := w.found
	w.look()
	return found
}

func (w *watched) look() {
	if w.want != nil && w.want.MatchString(w.text.String()) {
		close(w.found)
		w.want = nil
	}
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

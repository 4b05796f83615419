package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
)

// margin is what a process may take for all but taking over.
const margin = 30 * time.Second

// world is a store, calls, and their effects.
type world struct {
	Crash
	test       string // to execute
	dir, place string
	calls      int
	atMostOnce bool
}

func (w *world) ledger() string { return filepath.Join(w.dir, "ledger") }

// count returns how many effects of a call last.
func (w *world) count(t *testing.T, id string) int {
	t.Helper()
	if w.Count != nil {
		return w.Count(t, w.place, id)
	}
	all, err := lines(w.ledger())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range all {
		if line == id {
			n++
		}
	}
	return n
}

// process is one that runs the calls.
type process struct {
	cmd     *exec.Cmd
	answers string // file
	stderr  bytes.Buffer
}

// start starts process n, which is to break as the failpoints say.
func (w *world) start(t *testing.T, n int, failpoints string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{answers: filepath.Join(w.dir, fmt.Sprint("answers", n))}
	text, err := json.Marshal(orders{
		Process: n, Place: w.place, Ledger: w.ledger(), Answers: p.answers,
		Calls: w.calls, AtMostOnce: w.atMostOnce, Timeout: w.TakesOver + margin,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.CommandContext(t.Context(), program, "-test.run="+pattern(w.test), "-test.timeout="+(w.TakesOver+2*margin).String())
	p.cmd.Env = append(os.Environ(), env+"="+string(text), failpoint.Env+"="+failpoints,
		"GORACE=atexit_sleep_ms=0") // else each process with the race detector takes a second to end
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// pattern is for -test.run, of one test.
func pattern(test string) string {
	parts := strings.Split(test, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// wait waits for the end of the process, and returns whether it was killed.
func (p *process) wait(t *testing.T) (killed bool) {
	t.Helper()
	err := p.cmd.Wait()
	if p.stderr.Len() > 0 {
		t.Logf("process: %s", p.stderr.Bytes())
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() < 0 {
		return true
	}
	if err != nil {
		t.Fatalf("process: %v", err)
	}
	return false
}

// answered returns what the process has answered to each call.
func (p *process) answered(t *testing.T) map[string]answer {
	t.Helper()
	all, err := lines(p.answers)
	answers := make(map[string]answer)
	for _, line := range all {
		var a answer
		err = errors.Join(err, json.Unmarshal([]byte(line), &a))
		answers[a.ID] = a
	}
	if err != nil {
		t.Fatalf("read answers: %v", err)
	}
	return answers
}

// one waits for the answer to the one call, which is nil if the process is killed.
func (p *process) one(t *testing.T) *answer {
	t.Helper()
	killed := p.wait(t)
	a, answered := p.answered(t)[callID(1)]
	if answered == killed {
		t.Fatalf("process: killed %t, answered %t, want one of them", killed, answered)
	}
	if killed {
		return nil
	}
	return &a
}

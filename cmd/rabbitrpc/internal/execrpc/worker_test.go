//go:build unix

package execrpc_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func pool(t *testing.T, workers int) (*execrpc.Upstream, *logged) {
	t.Helper()
	return serve(t, func(c *execrpc.Config) { c.Pool = workers }, "worker")
}

// pid asks which process answers.
func pid(t *testing.T, u *execrpc.Upstream) int {
	t.Helper()
	reply, err := u.Handle(within(t, patience), &rpc.Request{Method: "pid"})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(string(reply.Body), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWorkerAnswersManyRequests(t *testing.T) {
	u, _ := pool(t, 1)
	first := pid(t, u)
	for range 20 {
		if got := pid(t, u); got != first {
			t.Fatalf("process %d, want %d", got, first)
		}
	}
}

func TestWorkersTakeRequestsAtTheSameTime(t *testing.T) {
	const n = 3
	u, _ := pool(t, n)
	var wg sync.WaitGroup
	for range n - 1 {
		wg.Go(func() { u.Handle(within(t, 500*time.Millisecond), &rpc.Request{Method: "sleep"}) })
	}
	pid(t, u) // of the one that does not sleep
	wg.Wait()
}

func TestBodies(t *testing.T) {
	u, _ := serve(t, func(c *execrpc.Config) {
		c.Pool = 1
		c.ReplyType = rpc.ContentTypeBytes
	}, "worker")
	for _, body := range []string{"", "text", "line\nline \x00 ü", "\xff\xfe", strings.Repeat("\x01", 1<<16)} {
		reply, err := u.Handle(within(t, patience), &rpc.Request{Method: "echo", Body: []byte(body)})
		if err != nil || string(reply.Body) != body || reply.ContentType != rpc.ContentTypeBytes {
			t.Errorf("%.20q: got %.100v, %v", body, reply, err)
		}
	}
}

// The question is the contract of workers.
func TestQuestion(t *testing.T) {
	u, _ := pool(t, 1)
	reply, err := u.Handle(within(t, 5*time.Second), &rpc.Request{
		Service: "orders", Method: "question", ID: "4711", Client: "shop", User: "me", Attempt: 2, Body: []byte(`{"n":1}`),
		Header: rpc.Header{"traceparent": "00-1-2-01", "tracestate": "a=1", "other": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(reply.Body, &got); err != nil {
		t.Fatal(err)
	}
	if ms, _ := got["timeout_ms"].(float64); ms < 4000 || ms > 5000 {
		t.Errorf("timeout_ms is %v, want nearly 5000", got["timeout_ms"])
	}
	delete(got, "timeout_ms")
	want := map[string]any{
		"id": "1", "service": "orders", "method": "question", "call_id": "4711", "caller": "shop", "user": "me", "attempt": 2.0,
		"content_type": "application/json", "body": `{"n":1}`, "traceparent": "00-1-2-01", "tracestate": "a=1",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestWorkerFails: what a worker does, what its caller reads, and that there is another one for the next call.
func TestWorkerFails(t *testing.T) {
	const failed = "worker failed before it answered"
	for _, c := range []struct {
		name, method, body string
		code               rpc.Code
		message, log       string
	}{
		{"it ends", "exit", "", rpc.Internal, failed, "it ended: exit status 3"},
		{"no JSON", "raw", "secret\n", rpc.Internal, failed, "is no reply in JSON"},
		{"another id", "raw", `{"id": "7", "body": "1"}` + "\n", rpc.Internal, failed, "without the id"},
		{"no id", "raw", `{"body": "1"}` + "\n", rpc.Internal, failed, "without the id"},
		{"id that is no string", "raw", `{"id": 1, "body": "1"}` + "\n", rpc.Internal, failed, "in which id is of another type"},
		{"body that is no string", "raw", `{"id": "1", "body": {"secret": 1}}` + "\n", rpc.Internal, failed, "in which body is of another type"},
		{"message that is no string", "raw", `{"id": "1", "error": {"message": 404}}` + "\n", rpc.Internal, failed, "in which error.message is of another type"},
		{"no object", "raw", `["secret"]` + "\n", rpc.Internal, failed, "is no reply in JSON"},
		{"body and error", "raw", `{"id": "1", "body": "1", "error": {"code": "aborted"}}` + "\n", rpc.Internal, failed, "more than one of"},
		{"code that is none", "raw", `{"id": "1", "error": {"code": "secret"}}` + "\n", rpc.Internal, failed, "is no reply in JSON"},
		{"endless line", "raw", strings.Repeat("x", 100_000), rpc.Internal, failed, "line that is too long"},
		{"no answer in time", "sleep", "", rpc.DeadlineExceeded, "program was out of time", `cause="it did not answer in time"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, log := serve(t, func(c *execrpc.Config) { c.Pool, c.MaxReply = 1, 1000 }, "worker")
			timeout := patience
			if c.code == rpc.DeadlineExceeded {
				timeout = 300 * time.Millisecond
			}
			_, err := u.Handle(within(t, timeout), &rpc.Request{Method: c.method, Body: []byte(c.body)})
			check(t, err, c.code, c.message, rpc.ExecutedUnknown, true)
			eventually(t, log, c.log)
			if strings.Contains(log.String(), "secret") || strings.Contains(err.Error(), "secret") {
				t.Errorf("garbage is shown: %v\n%s", err, log)
			}
			pid(t, u) // of the next
		})
	}
}

func TestWorkerAnswersWithAnError(t *testing.T) {
	u, _ := pool(t, 1)
	first := pid(t, u)
	_, err := u.Handle(within(t, patience), &rpc.Request{Method: "raw", Body: []byte(
		`{"id": "2", "error": {"code": "not_found", "message": "no order 7", "details": [7], "retry_after_ms": 5}}` + "\n")})
	check(t, err, rpc.NotFound, "no order 7", rpc.ExecutedUnknown, false)
	if e := err.(*rpc.Error); string(e.Details) != "[7]" || e.RetryAfter != 5*time.Millisecond {
		t.Errorf("got %+v", e)
	}
	_, err = u.Handle(within(t, patience), &rpc.Request{Method: "raw", Body: []byte(`{"id": "3", "error": {"retry_after_ms": -9223372036855}}` + "\n\n")})
	check(t, err, rpc.Unknown, "", rpc.ExecutedUnknown, false)
	if e := err.(*rpc.Error); e.RetryAfter != 0 {
		t.Errorf("retry after %v, want none: it was negative", e.RetryAfter)
	}
	_, err = u.Handle(within(t, patience), &rpc.Request{Method: "raw", Body: []byte(`{"id": "4", "body": "no JSON"}` + "\n")})
	check(t, err, rpc.Internal, "is not JSON", rpc.ExecutedUnknown, false)
	if got := pid(t, u); got != first {
		t.Errorf("process %d, want %d: an error is no reason to end", got, first)
	}
}

func TestWorkersReplyTooLong(t *testing.T) {
	u, _ := serve(t, func(c *execrpc.Config) { c.Pool, c.MaxReply = 1, 10 }, "worker")
	_, err := u.Handle(within(t, patience), &rpc.Request{Method: "echo", Body: []byte("12345678901")})
	check(t, err, rpc.ResourceExhausted, "reply has 11 bytes, at most 10 are allowed", rpc.ExecutedUnknown, false)
	pid(t, u)
}

func TestAnswerOfAWorkerThatEnds(t *testing.T) {
	u, log := pool(t, 1)
	reply, err := u.Handle(within(t, patience), &rpc.Request{Method: "answer-and-exit"})
	if err != nil || string(reply.Body) != "1" {
		t.Errorf("got %v, %v, want what it wrote last", reply, err)
	}
	eventually(t, log, "it ended with exit code 0")
	pid(t, u)
}

// A worker that dies while nobody asks it is replaced before somebody does.
func TestIdleWorkerDies(t *testing.T) {
	u, log := pool(t, 1)
	first := pid(t, u)
	syscall.Kill(first, syscall.SIGKILL)
	eventually(t, log, "signal: killed")
	if got := pid(t, u); got == first {
		t.Errorf("process %d answers, which was killed", got)
	}
}

// A request of which no part got to a worker was not executed.
func TestWorkerDoesNotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	u, _ := serve(t, func(c *execrpc.Config) { c.Pool = 1 }, "deaf", file)
	for pid := []byte(nil); len(pid) == 0; time.Sleep(time.Millisecond) {
		pid, _ = os.ReadFile(file)
	}
	_, err := u.Handle(within(t, patience), &rpc.Request{})
	check(t, err, rpc.Unavailable, "worker ended before it read the request", rpc.ExecutedNo, false)
}

// A worker that speaks without being asked would answer the next request with it.
func TestIdleWorkerSpeaks(t *testing.T) {
	u, log := pool(t, 1)
	first := pid(t, u)
	_, err := u.Handle(within(t, patience), &rpc.Request{Method: "raw", Body: []byte(`{"id":"2","body":"1"}` + "\n" + `{"id":"3","body":"2"}` + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, log, "without being asked")
	if got := pid(t, u); got == first {
		t.Errorf("process %d answers still", got)
	}
}

func TestNoWorkerIsFree(t *testing.T) {
	u, _ := pool(t, 1)
	asleep := make(chan struct{})
	go func() {
		defer close(asleep)
		u.Handle(within(t, 400*time.Millisecond), &rpc.Request{Method: "sleep"})
	}()
	time.Sleep(10 * time.Millisecond) // whoever comes first, one of the two waits in vain
	_, err := u.Handle(within(t, 50*time.Millisecond), &rpc.Request{Method: "sleep"})
	if rpc.CodeOf(err) != rpc.DeadlineExceeded {
		t.Errorf("got %v, want deadline_exceeded", err)
	}
	<-asleep
}

// Workers that end at once are started ever more slowly.
func TestWorkersThatFailAreStartedSlowly(t *testing.T) {
	u, log := serve(t, func(c *execrpc.Config) { c.Pool = 1 }, "say", "", "cannot find my data\n", "1")
	_, err := u.Handle(within(t, 700*time.Millisecond), &rpc.Request{})
	if rpc.Executed(err) == rpc.ExecutedYes {
		t.Errorf("got %v, executed yes", err)
	}
	eventually(t, log, "worker is replaced") // the first may have ended with the request
	u.Close()
	starts := strings.Count(log.String(), "worker is replaced")
	if starts < 1 || starts > 6 {
		t.Errorf("replaced %d times in 700 ms, want 1 to 6\n%s", starts, log)
	}
	if !strings.Contains(log.String(), "cannot find my data") {
		t.Errorf("log without what they say:\n%s", log)
	}
}

func TestCloseEndsWorkers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	u, _ := serve(t, func(c *execrpc.Config) { c.Pool = 1 }, "hang", file) // deaf to SIGTERM and the end of its input
	for pid := []byte(nil); len(pid) == 0; time.Sleep(time.Millisecond) {
		pid, _ = os.ReadFile(file)
	}
	u.Close()
	gone(t, file)
	_, err := u.Handle(t.Context(), &rpc.Request{})
	check(t, err, rpc.Unavailable, "server stopped before", rpc.ExecutedNo, false)
}

// A stack trace is long, and its last line the one that counts.
func TestLastComplaintIsLogged(t *testing.T) {
	_, log := serve(t, func(c *execrpc.Config) { c.Pool = 1 }, "say", "", strings.Repeat("somewhere\n", 100)+"at last the cause", "1")
	eventually(t, log, "is replaced")
	if !strings.Contains(log.String(), "at last the cause") {
		t.Errorf("log without it:\n%s", log)
	}
}

// What a worker writes to standard error must not fill the log.
func TestComplaintsAreBounded(t *testing.T) {
	u, log := serve(t, func(c *execrpc.Config) { c.Pool = 1 }, "say", "", strings.Repeat(strings.Repeat("x", 2000)+"\n", 10_000), "0")
	eventually(t, log, "is replaced")
	u.Close()
	if n := len(log.String()); n > 200_000 {
		t.Errorf("log has %d bytes", n)
	}
}

// A pool whose program cannot run any more has calls go to others, instead of keeping them until their deadlines.
func TestNoWorkerRuns(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	install := func() {
		if err := os.Symlink(self, program); err != nil {
			t.Fatal(err)
		}
	}
	install()
	u, _ := serve(t, func(c *execrpc.Config) { c.Command, c.Pool = []string{program, "worker"}, 2 }, "")
	call := func(method string) error {
		_, err := u.Handle(within(t, patience), &rpc.Request{ID: "1", Method: method})
		return err
	}
	if err := call("pid"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	call("exit")
	call("exit")
	for range 3 {
		check(t, call("pid"), rpc.Unavailable, "no worker runs", rpc.ExecutedNo, false)
	}
	install()
	for end := time.Now().Add(patience); call("pid") != nil; {
		if time.Now().After(end) {
			t.Fatal("the program is there again, and nobody runs it")
		}
	}
}

// Calls that waited for the last worker when it ended do not wait until their deadlines.
func TestLastWorkerEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	u, _ := serve(t, func(c *execrpc.Config) { c.Command, c.Pool = []string{program, "worker"}, 1 }, "")
	worker := pid(t, u)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	asleep := filepath.Join(t.TempDir(), "asleep")
	call := func() <-chan error {
		err := make(chan error, 1)
		go func() {
			_, e := u.Handle(within(t, patience), &rpc.Request{Method: "sleep", Body: []byte(asleep)})
			err <- e
		}()
		return err
	}
	running := call()
	for _, err := os.Stat(asleep); err != nil; _, err = os.Stat(asleep) {
		time.Sleep(time.Millisecond)
	}
	waiting := call()
	time.Sleep(10 * time.Millisecond) // should it come later it is refused as well
	syscall.Kill(worker, syscall.SIGKILL)
	check(t, <-running, rpc.Internal, "worker failed", rpc.ExecutedUnknown, true)
	check(t, <-waiting, rpc.Unavailable, "no worker runs", rpc.ExecutedNo, false)
}

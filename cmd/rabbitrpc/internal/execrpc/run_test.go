//go:build unix

package execrpc_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/execrpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestBodyGoesInAndComesOut(t *testing.T) {
	u, _ := serve(t, nil, "echo")
	body := `["` + strings.Repeat("x", 1<<20) + `"]` // more than a pipe holds
	reply, err := u.Handle(t.Context(), &rpc.Request{Body: []byte(body)})
	if err != nil || string(reply.Body) != body || reply.ContentType != rpc.ContentTypeJSON {
		t.Errorf("got %.100v, %v", reply, err)
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name, contentType, out, want string
		err                          string
	}{
		{name: "JSON", out: " {\"n\": 1}\n", want: `{"n": 1}`},
		{name: "nothing is null", out: "", want: "null"},
		{name: "not JSON", out: "hello", err: "is not JSON"},
		{name: "text", contentType: "text/plain", out: "hello\n", want: "hello"},
		{name: "text of several lines", contentType: "text/plain; charset=utf-8", out: "a\n\n", want: "a\n"},
		{name: "text without a newline", contentType: "text/plain", out: "hello", want: "hello"},
		{name: "any other type is as it is", contentType: "image/png", out: "\n", want: "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, _ := serve(t, func(cfg *execrpc.Config) { cfg.ReplyType = c.contentType }, "say", c.out, "", "0")
			reply, err := u.Handle(t.Context(), &rpc.Request{})
			switch {
			case c.err != "":
				check(t, err, rpc.Internal, c.err, rpc.ExecutedUnknown, false) // the server makes that a yes
			case err != nil || string(reply.Body) != c.want:
				t.Errorf("got %v, %v, want %q", reply, err, c.want)
			}
		})
	}
}

// TestExitCodes: what a program ends with, and what its caller and the log read.
func TestExitCodes(t *testing.T) {
	const secret = "password is hunter2"
	for _, c := range []struct {
		name, stderr, code string
		want               rpc.Code
		message            string
		executed           rpc.Execution
		inDoubt            bool
		details            string
		after              time.Duration
	}{
		{name: "1", stderr: secret, code: "1", want: rpc.Unknown, message: "program ended with exit code 1"},
		{name: "not found by a shell", stderr: secret, code: "127", want: rpc.Unknown, message: "exit code 127"},
		{name: "EX_USAGE", stderr: "no such flag\n" + secret, code: "64", want: rpc.InvalidArgument, message: "no such flag"},
		{name: "EX_DATAERR with nothing said", code: "65", want: rpc.InvalidArgument, message: "program ended with exit code 65"},
		{name: "EX_NOINPUT", stderr: "no order 7", code: "66", want: rpc.NotFound, message: "no order 7"},
		{name: "EX_UNAVAILABLE", stderr: "closed", code: "69", want: rpc.Unavailable, message: "closed"},
		{name: "EX_TEMPFAIL did nothing", stderr: "busy", code: "75", want: rpc.Unavailable, message: "busy", executed: rpc.ExecutedNo},
		{name: "EX_NOPERM", stderr: "not you", code: "77", want: rpc.PermissionDenied, message: "not you"},
		{name: "EX_CONFIG", stderr: "not set up", code: "78", want: rpc.FailedPrecondition, message: "not set up"},
		{name: "control characters", stderr: "a\x1b[2Jb\tc", code: "66", want: rpc.NotFound, message: "a [2Jb c"},
		{name: "long line", stderr: strings.Repeat("x", 5000), code: "66", want: rpc.NotFound, message: strings.Repeat("x", 1024)},
		{
			name: "error object", stderr: "some log\n" + `{"code": "already_exists", "message": "order 7", "details": {"n": 7}}` + "\n", code: "1",
			want: rpc.AlreadyExists, message: "order 7", details: `{"n": 7}`,
		},
		{
			name: "error object that had no effect", stderr: `{"code": "resource_exhausted", "executed": "no", "retry_after_ms": 1500}`, code: "1",
			want: rpc.ResourceExhausted, executed: rpc.ExecutedNo, after: 1500 * time.Millisecond,
		},
		{name: "error object in doubt", stderr: `{"code": "aborted", "executed": "unknown"}`, code: "1", want: rpc.Aborted, inDoubt: true},
		{name: "error object after much else", stderr: strings.Repeat("x\n", 50_000) + `{"code": "aborted"}`, code: "1", want: rpc.Aborted},
		{name: "no code", stderr: `{"message": "` + secret + `"}`, code: "1", want: rpc.Unknown, message: "exit code 1"},
		{name: "code that is none", stderr: `{"code": "bad", "message": "` + secret + `"}`, code: "1", want: rpc.Unknown, message: "exit code 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, log := serve(t, nil, "say", "1", c.stderr, c.code)
			_, err := u.Handle(t.Context(), &rpc.Request{Method: "m", ID: "4711"})
			check(t, err, c.want, c.message, c.executed, c.inDoubt)
			e := err.(*rpc.Error)
			if strings.Contains(e.Message, "hunter2") || string(e.Details) != c.details || e.RetryAfter != c.after {
				t.Errorf("got %+v, want details %s, retry after %v", e, c.details, c.after)
			}
			broken := c.want == rpc.Unknown // which is for the operator, and all else for the caller
			if text := log.String(); broken != (strings.Contains(text, "4711") && strings.Contains(text, "hunter2")) || !broken && text != "" {
				t.Errorf("log is %q", text)
			}
		})
	}
}

func TestProgramDiesOfASignal(t *testing.T) {
	u, _ := serve(t, nil, "die")
	_, err := u.Handle(t.Context(), &rpc.Request{})
	check(t, err, rpc.Internal, "program was ended by a signal", rpc.ExecutedUnknown, true)
}

func TestDeadlineEndsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	u, _ := serve(t, nil, "hang", file)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for {
			if pid, _ := os.ReadFile(file); len(pid) > 0 {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	start := time.Now()
	_, err := u.Handle(ctx, &rpc.Request{})
	check(t, err, rpc.Unavailable, "server stopped before the program was done", rpc.ExecutedUnknown, true)
	if took := time.Since(start); took > patience {
		t.Errorf("took %v: was the program killed, or did it end by itself?", took)
	}
	gone(t, file)
}

func TestDeadline(t *testing.T) {
	u, _ := serve(t, nil, "polite") // its exit code 0 is no answer: it was told to end
	_, err := u.Handle(within(t, 200*time.Millisecond), &rpc.Request{})
	check(t, err, rpc.DeadlineExceeded, "program was out of time", rpc.ExecutedUnknown, true)
}

func TestCloseEndsPrograms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	u, _ := serve(t, nil, "hang", file)
	ended := make(chan error)
	go func() {
		_, err := u.Handle(t.Context(), &rpc.Request{})
		ended <- err
	}()
	for pid := []byte(nil); len(pid) == 0; time.Sleep(time.Millisecond) {
		pid, _ = os.ReadFile(file)
	}
	go u.Close()
	check(t, <-ended, rpc.Unavailable, "server stopped", rpc.ExecutedUnknown, true)
	gone(t, file)
}

func TestNoProgramIsStartedAfterClose(t *testing.T) {
	u, _ := serve(t, nil, "echo")
	u.Close()
	for range 10 {
		_, err := u.Handle(t.Context(), &rpc.Request{})
		check(t, err, rpc.Unavailable, "server stopped before the program was started", rpc.ExecutedNo, false)
	}
}

func TestDeadlineBeforeTheStart(t *testing.T) {
	u, _ := serve(t, nil, "echo")
	_, err := u.Handle(within(t, 0), &rpc.Request{})
	check(t, err, rpc.DeadlineExceeded, "no program was free in time", rpc.ExecutedNo, false)
}

func TestReplyTooLong(t *testing.T) {
	u, _ := serve(t, func(c *execrpc.Config) { c.MaxReply = 1000 }, "flood")
	_, err := u.Handle(within(t, patience), &rpc.Request{})
	check(t, err, rpc.Internal, "its reply has more than 1000 bytes", rpc.ExecutedUnknown, true)
}

func TestLargestReply(t *testing.T) {
	u, _ := serve(t, func(c *execrpc.Config) { c.MaxReply = 3 }, "say", "123", "", "0")
	if reply, err := u.Handle(t.Context(), &rpc.Request{}); err != nil || string(reply.Body) != "123" {
		t.Errorf("got %v, %v", reply, err)
	}
}

// What a program does not read must not matter, however much it is.
func TestStdinIsNotRead(t *testing.T) {
	u, _ := serve(t, nil, "say", "1", "", "0")
	reply, err := u.Handle(within(t, patience), &rpc.Request{Body: make([]byte, 1<<20)})
	if err != nil || string(reply.Body) != "1" {
		t.Errorf("got %v, %v", reply, err)
	}
}

func TestChildrenAreEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	u, _ := serve(t, nil, "leave", file)
	reply, err := u.Handle(within(t, patience), &rpc.Request{})
	if err != nil || string(reply.Body) != "1" {
		t.Errorf("got %v, %v", reply, err)
	}
	gone(t, file)
}

// A child that leaves the group is beyond reach, but must not keep the call waiting.
func TestChildOutsideOfTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	u, _ := serve(t, nil, "leave", file, "setsid")
	reply, err := u.Handle(within(t, patience), &rpc.Request{})
	if err != nil || string(reply.Body) != "1" {
		t.Errorf("got %v, %v", reply, err)
	}
	killed(t, file)
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET", "hunter2")
	t.Setenv("WANTED", "yes")
	u, _ := serve(t, func(c *execrpc.Config) {
		c.PassEnv = []string{"WANTED", "NOT_SET"}
		c.Env["MINE"] = "a=b"
	}, "environ")
	reply, err := u.Handle(within(t, 5*time.Second), &rpc.Request{
		Service: "orders", Method: "get", ID: "4711", Client: "shop", User: "me", Attempt: 2, ContentType: "text/plain",
		Header: rpc.Header{"traceparent": "00-1-2-01", "tracestate": "a=1", "LD_PRELOAD": "evil"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal(reply.Body, &got); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PATH=" + os.Getenv("PATH"), "WANTED=yes", asProgram + "=yes", noSleep + "=" + noSleepValue, "MINE=a=b", "RABBITRPC_SERVICE=orders", "RABBITRPC_METHOD=get",
		"RABBITRPC_CALL_ID=4711", "RABBITRPC_CALLER=shop", "RABBITRPC_USER=me", "RABBITRPC_ATTEMPT=2",
		"RABBITRPC_CONTENT_TYPE=text/plain", "TRACEPARENT=00-1-2-01", "TRACESTATE=a=1",
	}
	left := slices.DeleteFunc(slices.Clone(got), func(v string) bool { return slices.Contains(want, v) })
	if len(left) != 1 || !strings.HasPrefix(left[0], "RABBITRPC_TIMEOUT_MS=4") || len(got) != len(want)+1 {
		t.Errorf("got %q, want %q and the timeout", got, want)
	}
}

func TestDir(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	u, _ := serve(t, func(c *execrpc.Config) { c.Dir = dir }, "dir")
	if reply, err := u.Handle(t.Context(), &rpc.Request{}); err != nil || string(reply.Body) != `"`+dir+`"` {
		t.Errorf("got %v, %v, want %s", reply, err, dir)
	}
}

func TestNULInTheCallID(t *testing.T) {
	u, _ := serve(t, nil, "echo")
	_, err := u.Handle(t.Context(), &rpc.Request{ID: "a\x00b"})
	check(t, err, rpc.InvalidArgument, "NUL byte", rpc.ExecutedNo, false)
}

// A program that was there at the start may be gone later.
func TestProgramIsGone(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	u, log := serve(t, func(c *execrpc.Config) { c.Command = []string{script} }, "")
	if err := os.Remove(script); err != nil {
		t.Fatal(err)
	}
	_, err := u.Handle(t.Context(), &rpc.Request{})
	check(t, err, rpc.Unavailable, "program cannot be started", rpc.ExecutedNo, false)
	if strings.Contains(err.Error(), script) || !strings.Contains(log.String(), "no such file") {
		t.Errorf("got %v, log %s", err, log)
	}
}

package httprpc_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/httprpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestReply(t *testing.T) {
	u, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusCreated)
		io.Copy(w, r.Body)
	}, nil)
	body := strings.Repeat("x", 1<<20)
	reply, err := u.Handle(within(t, 5*time.Second), &rpc.Request{Body: []byte(body)})
	if err != nil || string(reply.Body) != body || reply.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("got %.100v, %v", reply, err)
	}
}

func TestReplyTooLong(t *testing.T) {
	u, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }, func(c *httprpc.Config) { c.MaxReply = 10 })
	if reply, err := u.Handle(within(t, 5*time.Second), &rpc.Request{Body: make([]byte, 10)}); err != nil || len(reply.Body) != 10 {
		t.Errorf("got %v, %v", reply, err)
	}
	_, err := u.Handle(within(t, 5*time.Second), &rpc.Request{Body: make([]byte, 11)})
	check(t, err, rpc.ResourceExhausted, "reply has more than 10 bytes", rpc.ExecutedYes)
}

func TestEncodedReply(t *testing.T) {
	u, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("Accept-Encoding is %q", got)
		}
		w.Header().Set("Content-Encoding", "gzip")
		gzip.NewWriter(w).Close()
	}, nil)
	_, err := u.Handle(within(t, 5*time.Second), &rpc.Request{})
	check(t, err, rpc.Internal, "encoded its reply", rpc.ExecutedYes)
}

// TestStatus: what an upstream answers, and what the caller reads.
func TestStatus(t *testing.T) {
	const problem = "application/problem+json; charset=utf-8"
	for _, c := range []struct {
		status              int
		contentType, body   string
		retryAfter          string
		want                rpc.Code
		message             string
		executed            rpc.Execution
		details             bool
		leastAfter, maxWait time.Duration
	}{
		{status: 302, want: rpc.Unknown, message: "upstream answered 302 Found", executed: rpc.ExecutedYes},
		{status: 304, want: rpc.Unknown, executed: rpc.ExecutedYes},
		{status: 400, contentType: "text/html", body: "<h1>secret</h1>", want: rpc.InvalidArgument, message: "upstream answered 400 Bad Request", executed: rpc.ExecutedYes},
		{status: 401, want: rpc.Unauthenticated, executed: rpc.ExecutedYes},
		{status: 403, want: rpc.PermissionDenied, executed: rpc.ExecutedYes},
		{status: 404, want: rpc.NotFound, executed: rpc.ExecutedYes},
		{status: 405, want: rpc.Unimplemented, executed: rpc.ExecutedYes},
		{status: 408, want: rpc.DeadlineExceeded, executed: rpc.ExecutedUnknown},
		{status: 409, want: rpc.Aborted, executed: rpc.ExecutedYes},
		{status: 410, want: rpc.NotFound, executed: rpc.ExecutedYes},
		{status: 412, want: rpc.FailedPrecondition, executed: rpc.ExecutedYes},
		{status: 413, want: rpc.InvalidArgument, executed: rpc.ExecutedYes},
		{status: 415, want: rpc.Unimplemented, executed: rpc.ExecutedYes},
		{status: 416, want: rpc.OutOfRange, executed: rpc.ExecutedYes},
		{status: 418, want: rpc.Unknown, executed: rpc.ExecutedYes},
		{status: 422, want: rpc.InvalidArgument, executed: rpc.ExecutedYes},
		{status: 425, want: rpc.Unavailable, executed: rpc.ExecutedNo},
		{status: 428, want: rpc.FailedPrecondition, executed: rpc.ExecutedYes},
		{status: 429, retryAfter: "7", want: rpc.ResourceExhausted, executed: rpc.ExecutedNo, leastAfter: 7 * time.Second, maxWait: 7 * time.Second},
		{status: 499, want: rpc.Canceled, executed: rpc.ExecutedUnknown},
		{status: 500, want: rpc.Internal, executed: rpc.ExecutedYes},
		{status: 501, want: rpc.Unimplemented, executed: rpc.ExecutedYes},
		{status: 502, want: rpc.Unavailable, executed: rpc.ExecutedUnknown},
		{
			status: 503, retryAfter: time.Now().Add(time.Minute).UTC().Format(http.TimeFormat),
			want: rpc.Unavailable, executed: rpc.ExecutedUnknown, leastAfter: 50 * time.Second, maxWait: time.Minute,
		},
		{status: 503, retryAfter: "soon", want: rpc.Unavailable, executed: rpc.ExecutedUnknown},
		{status: 503, retryAfter: "-1", want: rpc.Unavailable, executed: rpc.ExecutedUnknown},
		{status: 503, retryAfter: "9999999999", want: rpc.Unavailable, executed: rpc.ExecutedUnknown, leastAfter: 24 * time.Hour, maxWait: 24 * time.Hour},
		{status: 503, retryAfter: "Thu, 01 Jan 1970 00:00:00 GMT", want: rpc.Unavailable, executed: rpc.ExecutedUnknown},
		{status: 504, want: rpc.DeadlineExceeded, executed: rpc.ExecutedUnknown},
		{status: 599, want: rpc.Unknown, message: "upstream answered 599", executed: rpc.ExecutedYes},
		{
			status: 404, contentType: problem, body: `{"title": "Not Found", "detail": "no order 7", "n": 7}`,
			want: rpc.NotFound, message: "no order 7", executed: rpc.ExecutedYes, details: true,
		},
		{status: 404, contentType: problem, body: `{"title": "gone"}`, want: rpc.NotFound, message: "gone", executed: rpc.ExecutedYes, details: true},
		{
			status: 409, contentType: problem, body: `{"code": "already_exists", "executed": "no"}`,
			want: rpc.AlreadyExists, message: "upstream answered 409", executed: rpc.ExecutedNo, details: true,
		},
		{status: 500, contentType: problem, body: `{"code": "ok", "executed": "maybe"}`, want: rpc.Internal, executed: rpc.ExecutedYes, details: true},
		{status: 404, contentType: problem, body: `no JSON`, want: rpc.NotFound, message: "404", executed: rpc.ExecutedYes},
		{status: 404, contentType: problem, body: `{"detail": "` + strings.Repeat("x", 9000) + `"}`, want: rpc.NotFound, message: "404", executed: rpc.ExecutedYes},
		{status: 404, contentType: problem, body: strings.Repeat("x", 200_000), want: rpc.NotFound, message: "404", executed: rpc.ExecutedYes},
	} {
		t.Run(fmt.Sprint(c.status, c.retryAfter), func(t *testing.T) {
			u, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					t.Errorf("a redirect was followed")
				}
				w.Header().Set("Location", "/elsewhere")
				w.Header().Set("Content-Type", c.contentType)
				w.Header().Set("Retry-After", c.retryAfter)
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}, func(cfg *httprpc.Config) { cfg.MaxReply = 100_000 })
			_, err := u.Handle(within(t, 5*time.Second), &rpc.Request{})
			e := check(t, err, c.want, c.message, c.executed)
			if (string(e.Details) == c.body) != (c.details || c.body == "") || strings.Contains(e.Message, "secret") {
				t.Errorf("got %+v, want the body for details: %v", e, c.details)
			}
			if e.RetryAfter < c.leastAfter || e.RetryAfter > c.maxWait {
				t.Errorf("retry after %v, want %v to %v", e.RetryAfter, c.leastAfter, c.maxWait)
			}
		})
	}
}

package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func small(c *config.Gateway) { c.MaxBody, c.BodyMemory = 8, 10 }

// stuck is a client that reads no reply until it is told to.
type stuck struct {
	*httptest.ResponseRecorder
	writes, reads chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	close(s.writes)
	<-s.reads
	return s.ResponseRecorder.Write(p)
}

// TestBodiesAreBounded: what all requests and replies hold together has a bound, and is given back.
func TestBodiesAreBounded(t *testing.T) {
	called, answer := make(chan struct{}), make(chan struct{})
	g := newGateway(t, func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
		if r.Method == "wait" {
			called <- struct{}{}
			<-answer
			return &rpc.Reply{Body: []byte("123456789")}, nil
		}
		return &rpc.Reply{}, nil
	}, small)
	full := func(when string, r *http.Request) {
		t.Helper()
		resp := serve(g, r)
		p := problemOf(t, resp)
		if p.Status != http.StatusServiceUnavailable || p.Code != "unavailable" || p.Executed != "no" || !p.Retryable ||
			resp.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: got %+v, %v, want that there is no room", when, p, resp.Header)
		}
		if n, _ := r.Body.Read(make([]byte, 1)); (n == 0) != (r.Header.Get("Expect") == "") {
			t.Errorf("%s: %d bytes are left of the body", when, n)
		}
	}
	fits := func(when, body string) {
		t.Helper()
		if resp := serve(g, post("/call/a/b", body)); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d for %s", when, resp.StatusCode, body)
		}
	}
	fits("alone", "12345678")
	w := &stuck{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() { defer close(done); g.ServeHTTP(w, post("/call/a/wait", "1234567")) }()
	<-called
	fits("beside a request", "123")
	full("beside a request", post("/call/a/b", "1234"))
	unsaid := post("/call/a/b", "1234")
	unsaid.ContentLength = -1
	full("of a length that is not said", unsaid)
	full("of a client that waits to be asked for it", post("/call/a/b", "1234", "Expect", "100-continue"))
	close(answer)
	<-w.writes
	full("beside a reply that is not read", post("/call/a/b", "1"))
	close(w.reads)
	<-done
	fits("after all", "12345678")
	if got := w.Body.String(); !strings.HasPrefix(got, "123456789") {
		t.Errorf("the reply is %q", got)
	}
}

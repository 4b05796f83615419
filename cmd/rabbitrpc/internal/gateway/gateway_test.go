package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/gateway"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef"

// newGateway makes one that calls do.
func newGateway(t *testing.T, do rpc.Handler, change func(*config.Gateway)) *gateway.Gateway {
	t.Helper()
	cfg := config.DefaultGateway()
	if change != nil {
		change(&cfg)
	}
	g, err := gateway.New(cfg, do, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// post makes a request with headers given as name, value, name...
func post(path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func serve(g *gateway.Gateway, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w.Result()
}

// echo answers with what it got.
func echo(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
	return &rpc.Reply{ContentType: r.ContentType, Body: []byte(r.Service + " " + r.Method + " " + string(r.Body)), Server: "host/1", Replayed: true}, nil
}

func never(context.Context, *rpc.Request) (*rpc.Reply, error) { panic("it was called") }

func TestReply(t *testing.T) {
	g := newGateway(t, echo, nil)
	for _, c := range []struct{ path, contentType, wantType, want string }{
		{"/call/orders/get", "", "application/json", "orders get body"},
		{"/call/orders/items/get?x=1", "text/plain; charset=utf-8", "text/plain; charset=utf-8", "orders items/get body"},
		{"/call/orders/rpc.ping", "image/png", "image/png", "orders rpc.ping body"},
	} {
		resp := serve(g, post(c.path, "body", "Content-Type", c.contentType, "Idempotency-Key", "4711"))
		body, _ := io.ReadAll(resp.Body)
		h := resp.Header
		if resp.StatusCode != 200 || string(body) != c.want || h.Get("Content-Type") != c.wantType {
			t.Errorf("%s: got %d, %q, %v", c.path, resp.StatusCode, body, h)
		}
		if h.Get("Rabbitrpc-Call-Id") != "4711" || h.Get("Rabbitrpc-Server") != "host/1" || h.Get("Rabbitrpc-Replayed") != "true" ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers are %v", c.path, h)
		}
	}
}

// A problem is what clients of the gateway read.
type problem struct {
	Title        string          `json:"title"`
	Status       int             `json:"status"`
	Detail       string          `json:"detail"`
	Code         string          `json:"code"`
	Executed     string          `json:"executed"`
	Retryable    bool            `json:"retryable"`
	RetryAfterMS int64           `json:"retry_after_ms"`
	CallID       string          `json:"call_id"`
	Details      json.RawMessage `json:"details"`
}

func problemOf(t *testing.T, resp *http.Response) problem {
	t.Helper()
	var p problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("no problem: %v, %v", err, resp.Header)
	}
	if p.Status != resp.StatusCode || p.Title == "" {
		t.Errorf("got %+v with status %d", p, resp.StatusCode)
	}
	return p
}

func TestErrors(t *testing.T) {
	for code, status := range map[rpc.Code]int{
		rpc.Canceled: 499, rpc.Unknown: 500, rpc.InvalidArgument: 400, rpc.DeadlineExceeded: 504, rpc.NotFound: 404,
		rpc.AlreadyExists: 409, rpc.PermissionDenied: 403, rpc.ResourceExhausted: 429, rpc.FailedPrecondition: 400,
		rpc.Aborted: 409, rpc.OutOfRange: 400, rpc.Unimplemented: 501, rpc.Internal: 500, rpc.Unavailable: 503,
		rpc.DataLoss: 500, rpc.Unauthenticated: 401, rpc.Code(99): 500,
	} {
		for _, executed := range []rpc.Execution{rpc.ExecutedYes, rpc.ExecutedNo, rpc.ExecutedUnknown} {
			g := newGateway(t, func(context.Context, *rpc.Request) (*rpc.Reply, error) {
				return nil, &rpc.Error{Code: code, Message: "why", Executed: executed}
			}, nil)
			resp := serve(g, post("/call/a/b", "", "Idempotency-Key", "1"))
			p := problemOf(t, resp)
			want := problem{
				Title: p.Title, Status: status, Detail: "why", Code: code.String(), Executed: executed.String(), CallID: "1",
				Retryable: code.Retryable() && executed != rpc.ExecutedYes,
			}
			if code == rpc.Code(99) {
				want.Code = "unknown"
			}
			if p.Details != nil || p.Detail != want.Detail || p.Code != want.Code || p.Executed != want.Executed || p.Retryable != want.Retryable ||
				p.Status != status || p.CallID != "1" {
				t.Errorf("got %+v, want %+v", p, want)
			}
			if got := resp.Header.Get("WWW-Authenticate") != ""; got != (status == 401) {
				t.Errorf("%v: asks for a token: %v", code, got)
			}
		}
	}
}

func TestErrorWithAllOfIt(t *testing.T) {
	g := newGateway(t, func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "quota").WithDetails(map[string]int{"quota": 7}).WithRetryAfter(1200 * time.Millisecond)
	}, nil)
	resp := serve(g, post("/call/a/b", ""))
	p := problemOf(t, resp)
	if resp.Header.Get("Retry-After") != "2" || p.RetryAfterMS != 1200 || string(p.Details) != `{"quota":7}` || len(p.CallID) != 36 ||
		p.CallID != resp.Header.Get("Rabbitrpc-Call-Id") {
		t.Errorf("got %+v, %v", p, resp.Header)
	}
}

func TestForeignErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		detail string
	}{
		{errors.New("secret"), 500, "the call failed"},
		{rpc.Errorf(rpc.Unavailable, "%w: connect to secret", conn.ErrNotConnected).WithExecuted(rpc.ExecutedNo), 503, conn.ErrNotConnected.Error()},
		{&rpc.Error{Code: rpc.Aborted, Message: "x", Details: json.RawMessage("secret {")}, 409, "x"},
	} {
		g := newGateway(t, func(context.Context, *rpc.Request) (*rpc.Reply, error) { return nil, c.err }, nil)
		resp := serve(g, post("/call/a/b", ""))
		if p := problemOf(t, resp); p.Status != c.status || p.Detail != c.detail || p.Details != nil {
			t.Errorf("%v: got %+v", c.err, p)
		}
	}
}

// TestRefused: what is no call, and what must not be one.
func TestRefused(t *testing.T) {
	withToken := func(c *config.Gateway) { c.Token = token }
	open := func(c *config.Gateway) { c.Open = true }
	hosted := func(host string) *http.Request {
		r := post("/call/a/b", "")
		r.Host = host
		return r
	}
	get := post("/call/a/b", "")
	get.Method = http.MethodGet
	preflight := post("/call/a/b", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
	preflight.Method = http.MethodOptions
	for _, c := range []struct {
		name   string
		change func(*config.Gateway)
		r      *http.Request
		status int // 200 if it is let through
	}{
		{"another path", nil, post("/", ""), 404},
		{"no method", nil, post("/call/math/", ""), 404},
		{"no service", nil, post("/call//fib", ""), 404},
		{"GET", nil, get, 405},
		{"cross-origin page", nil, post("/call/a/b", "", "Origin", "https://evil.example"), 403},
		{"page without an origin", nil, post("/call/a/b", "", "Origin", "null"), 403},
		{"page behind a name of its own for this host", nil, post("/call/a/b", "", "Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-origin"), 403},
		{"page of a browser that leaves out the origin", nil, post("/call/a/b", "", "Sec-Fetch-Site", "cross-site"), 403},
		{"preflight", nil, preflight, 403},
		{"form", nil, post("/call/a/b", "", "Content-Type", "application/x-www-form-urlencoded"), 415},
		{"form with files", nil, post("/call/a/b", "", "Content-Type", "Multipart/Form-Data; boundary=x"), 415},
		{"page with a token", withToken, post("/call/a/b", "", "Origin", "https://evil.example", "Authorization", "Bearer "+token), 403},
		{"rebound name", nil, hosted("evil.example"), 403},
		{"rebound name with a port", nil, hosted("evil.example:8080"), 403},
		{"no host", nil, hosted(""), 403},
		{"name that begins like this host", nil, hosted("localhost.evil.example"), 403},
		{"localhost", nil, hosted("localhost:8080"), 200},
		{"localhost in capitals", nil, hosted("LOCALHOST:8080"), 200},
		{"IPv4", nil, hosted("127.0.0.1"), 200},
		{"IPv6", nil, hosted("[::1]:8080"), 200},
		{"IPv6 without a port", nil, hosted("[::1]"), 200},
		{"any name, open", open, hosted("gateway.example"), 200},
		{"any name, token", withToken, func() *http.Request {
			r := hosted("gateway.example")
			r.Header.Set("Authorization", "bearer "+token)
			return r
		}(), 200},
		{"no token", withToken, post("/call/a/b", ""), 401},
		{"another token", withToken, post("/call/a/b", "", "Authorization", "Bearer 0123456789abcdeg"), 401},
		{"beginning of the token", withToken, post("/call/a/b", "", "Authorization", "Bearer 0123456789abcde"), 401},
		{"empty token", withToken, post("/call/a/b", "", "Authorization", "Bearer "), 401},
		{"another scheme", withToken, post("/call/a/b", "", "Authorization", "Basic "+token), 401},
		{"token needed to learn what there is", withToken, post("/", ""), 401},
		{"compressed", nil, post("/call/a/b", "", "Content-Encoding", "gzip"), 415},
		{"body too long", func(c *config.Gateway) { c.MaxBody = 3 }, post("/call/a/b", "1234"), 413},
		{"longest body", func(c *config.Gateway) { c.MaxBody = 3 }, post("/call/a/b", "123"), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			do := echo
			if c.status != 200 {
				do = never
			}
			resp := serve(newGateway(t, do, c.change), c.r)
			if resp.StatusCode != c.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, c.status)
			}
			if c.status != 200 {
				if p := problemOf(t, resp); p.Executed != "no" || p.Detail == "" {
					t.Errorf("got %+v", p)
				}
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("a page may read this: %s", name)
				}
			}
		})
	}
}

// failing is a body that ends early.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestBodyIsCutOff(t *testing.T) {
	r := post("/call/a/b", "")
	r.Body = io.NopCloser(failing{})
	if p := problemOf(t, serve(newGateway(t, never, nil), r)); p.Status != 400 || p.Executed != "no" {
		t.Errorf("got %+v", p)
	}
}

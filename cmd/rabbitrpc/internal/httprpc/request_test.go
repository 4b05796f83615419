package httprpc_test

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/httprpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// recorded is a request that has arrived.
type recorded struct {
	*http.Request
	body string
}

// recorder is a server that answers 200, and hands over what has come.
func recorder(t *testing.T, path string, change func(*httprpc.Config)) (*httprpc.Upstream, <-chan recorded) {
	t.Helper()
	got := make(chan recorded, 1)
	u, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- recorded{r, string(body)}
	}, nil)
	u.Close()
	u, _ = upstream(t, s.URL+path, change)
	return u, got
}

// The headers are the contract with upstreams.
func TestRequest(t *testing.T) {
	u, got := recorder(t, "/rpc/{service}/{method}?x=1", func(c *httprpc.Config) {
		c.Headers = map[string]config.Hidden{"authorization": "Bearer secret", "host": "orders.internal"}
	})
	_, err := u.Handle(within(t, 5*time.Second), &rpc.Request{
		Service: "orders", Method: "items/get", ID: "4711", Client: "shop", User: "me", Attempt: 2, ContentType: "text/plain", Body: []byte("7"),
		Header: rpc.Header{"traceparent": "00-1-2-01", "tracestate": "a=1", "X-Evil": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.Method != "POST" || r.URL.Path != "/rpc/orders/items/get" || r.URL.RawQuery != "x=1" || r.Host != "orders.internal" || r.body != "7" {
		t.Errorf("got %s %s at %s with %q", r.Method, r.URL, r.Host, r.body)
	}
	if ms := r.Header.Get("Grpc-Timeout"); !strings.HasPrefix(ms, "49") || len(ms) != 5 || !strings.HasSuffix(ms, "m") {
		t.Errorf("Grpc-Timeout is %q, want nearly 5000m", ms)
	}
	if s := r.Header.Get("Request-Timeout"); !strings.HasPrefix(s, "4.9") {
		t.Errorf("Request-Timeout is %q, want nearly 5", s)
	}
	want := map[string]string{
		"Authorization": "Bearer secret", "Content-Type": "text/plain", "Content-Length": "1", "Idempotency-Key": "4711",
		"Traceparent": "00-1-2-01", "Tracestate": "a=1", "User-Agent": "Go-http-client/1.1", "Rabbitrpc-Service": "orders",
		"Rabbitrpc-Method": "items/get", "Rabbitrpc-Caller": "shop", "Rabbitrpc-User": "me", "Rabbitrpc-Attempt": "2",
	}
	all := make(map[string]string)
	for name := range r.Header {
		all[name] = r.Header.Get(name)
	}
	delete(all, "Grpc-Timeout")
	delete(all, "Request-Timeout")
	if !maps.Equal(all, want) {
		t.Errorf("headers are %v, want %v", all, want)
	}
}

func TestRequestWithoutABody(t *testing.T) {
	for _, verb := range []string{"", "GET", "HEAD", "PUT"} {
		u, got := recorder(t, "", func(c *httprpc.Config) { c.Verb = verb })
		body := []byte("body")
		if verb == "" || verb == "PUT" {
			body = nil
		}
		if _, err := u.Handle(within(t, 5*time.Second), &rpc.Request{Body: body}); err != nil {
			t.Fatal(err)
		}
		if r := <-got; r.body != "" || len(r.TransferEncoding) > 0 || r.Header.Get("Content-Type") != "application/json" ||
			r.Header.Get("Idempotency-Key") != "" {
			t.Errorf("%s: got %v with %q", verb, r.Header, r.body)
		}
	}
}

// A method must not lead to a path outside of the one that is configured.
func TestMethodsDoNotClimb(t *testing.T) {
	for method, want := range map[string]string{
		"a/../../b": "/rpc/a/%2E%2E/%2E%2E/b", "..": "/rpc/%2E%2E", ".": "/rpc/%2E", "a.b/c": "/rpc/a.b/c", "a?b#c%2f": "/rpc/a%3Fb%23c%252f",
	} {
		u, got := recorder(t, "/rpc/{method}", nil)
		if _, err := u.Handle(within(t, 5*time.Second), &rpc.Request{Method: method}); err != nil {
			t.Fatal(err)
		}
		if r := <-got; r.RequestURI != want {
			t.Errorf("%s: got %s, want %s", method, r.RequestURI, want)
		}
	}
}

func TestRequestThatCannotBeSent(t *testing.T) {
	u, _ := upstream(t, "http://127.0.0.1:1", nil)
	for _, r := range []*rpc.Request{
		{ID: "a\r\nEvil: x"}, {Client: "a\x00"}, {ContentType: "a\nb"}, {Header: rpc.Header{"traceparent": "a\nb"}},
	} {
		_, err := u.Handle(t.Context(), r)
		check(t, err, rpc.InvalidArgument, "cannot be sent by HTTP", rpc.ExecutedNo)
	}
	_, err := u.Handle(within(t, 0), &rpc.Request{})
	check(t, err, rpc.DeadlineExceeded, "in time", rpc.ExecutedNo)
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*httprpc.Config)
		want   string // "" if it is right
	}{
		{"URL", func(*httprpc.Config) {}, ""},
		{"URL with all of it", func(c *httprpc.Config) { c.URL = "https://[::1]:8080/{service}/{method}?a=b" }, ""},
		{"no URL", func(c *httprpc.Config) { c.URL = "" }, "url: is missing"},
		{"no scheme", func(c *httprpc.Config) { c.URL = "127.0.0.1:8080" }, "url: cannot be read"},
		{"other scheme", func(c *httprpc.Config) { c.URL = "ftp://host/" }, "url: must begin with http"},
		{"no host", func(c *httprpc.Config) { c.URL = "http:///path" }, "url: names no host"},
		{"password", func(c *httprpc.Config) { c.URL = "http://me:secret@host/" }, "url: must have no user"},
		{"password in what cannot be read", func(c *httprpc.Config) { c.URL = "http://me:secret@host:port/" }, "url: cannot be read"},
		{"fragment", func(c *httprpc.Config) { c.URL = "http://host/#a" }, "url: must have no fragment"},
		{"method in the host", func(c *httprpc.Config) { c.URL = "http://{method}/" }, "in its path alone"},
		{"method in the query", func(c *httprpc.Config) { c.URL = "http://host/?{method}" }, "in its path alone"},
		{"unknown braces", func(c *httprpc.Config) { c.URL = "http://host/{id}" }, "and no other braces"},
		{"no methods", func(c *httprpc.Config) { c.Names = nil }, "methods: is missing"},
		{"verb", func(c *httprpc.Config) { c.Verb = "post" }, "verb: must be an HTTP method"},
		{"CONNECT", func(c *httprpc.Config) { c.Verb = "CONNECT" }, "verb: must be an HTTP method"},
		{"header name", func(c *httprpc.Config) { c.Headers = map[string]config.Hidden{"a b": ""} }, "headers: must have names"},
		{"header value", func(c *httprpc.Config) { c.Headers = map[string]config.Hidden{"A": "secret\n"} }, "headers.A: has a value"},
		{"own header", func(c *httprpc.Config) { c.Headers = map[string]config.Hidden{"idempotency-key": "1"} }, "headers.idempotency-key: is set"},
		{"leave to send it twice", func(c *httprpc.Config) { c.Headers = map[string]config.Hidden{"x-idempotency-key": "1"} }, "headers.x-idempotency-key: is set"},
		{"connections", func(c *httprpc.Config) { c.MaxConnections = -1 }, "max_connections: must be"},
		{"reply", func(c *httprpc.Config) { c.MaxReply = 1 << 30 }, "max_reply: must be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := httprpc.Config{URL: "http://127.0.0.1:8080", Names: []string{"m"}}
			c.change(&cfg)
			err := cfg.Check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells: %v", err)
			}
		})
	}
}

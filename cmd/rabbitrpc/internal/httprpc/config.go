// Package httprpc answers calls with requests to an HTTP server, as a rule one on the same host. docs/adapters.md is the
// contract of both.
//
// # Guarantees
//
// An error says that a call was not executed only if no byte of the request was written, or the server says 429 or 425. It
// says that it was executed only if the server has answered. Everything in between leaves the outcome in doubt, see
// [rpc.ErrInDoubt]. A request is sent once, unless the configuration says that its repetition is harmless.
package httprpc

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Config says which server answers which methods, and within which bounds. Zero values are the defaults. It is a kind of
// service of the daemon.
type Config struct {
	// URL is where requests go, http or https. {service} and {method} in its path stand for what is called.
	URL config.URL `koanf:"url"`

	// Names are the methods that it answers.
	Names []string `koanf:"methods"`

	// Verb is the method of the requests: POST by default. GET, HEAD and OPTIONS are sent without a body.
	Verb string `koanf:"verb"`

	// Headers are sent with each request.
	Headers map[string]config.Hidden `koanf:"headers"`

	// Idempotent says that the server knows a request again, by its Idempotency-Key or by its nature. Then one that is lost
	// with a connection that was kept open from the request before is sent again.
	Idempotent bool `koanf:"idempotent"`

	// MaxConnections is how many connections there may be, and so requests at a time: 1 to 10000, default 64. More wait.
	MaxConnections int `koanf:"max_connections"`

	// MaxReply is how many bytes a reply may have: 1 to 512 MiB, default 4 MiB.
	MaxReply int `koanf:"max_reply"`
}

const (
	maxConnections = 10_000
	maxReply       = 512 << 20 // RabbitMQ takes no more, however it is set up
)

// Check reports what cannot work. The server need not be there.
func (c *Config) Check() error {
	d := c.withDefaults()
	switch {
	case strings.ToUpper(d.Verb) != d.Verb || !httpguts.ValidHeaderFieldName(d.Verb) || d.Verb == http.MethodConnect:
		return wrong("verb", "must be an HTTP method such as POST, got %q", d.Verb)
	case d.MaxConnections < 1 || d.MaxConnections > maxConnections:
		return wrong("max_connections", "must be 1 to %d, got %d", maxConnections, d.MaxConnections)
	case d.MaxReply < 1 || d.MaxReply > maxReply:
		return wrong("max_reply", "must be 1 to %d, got %d", maxReply, d.MaxReply)
	}
	return cmp.Or(checkURL(string(d.URL)), config.CheckMethods(d.Names), checkHeaders(d.Headers))
}

// Methods returns the names of the methods.
func (c *Config) Methods() []string { return c.Names }

// Serve makes s answer the methods with requests to the server.
func (c *Config) Serve(s *server.Server, log *slog.Logger) (close func(), err error) {
	u, err := New(c, log.With("service", s.Service()))
	if err != nil {
		return nil, err
	}
	for _, m := range c.Names {
		s.Handle(m, u.Handle)
	}
	return u.Close, nil
}

func (c *Config) withDefaults() Config {
	d := *c
	d.Verb = cmp.Or(d.Verb, http.MethodPost)
	d.MaxConnections = cmp.Or(d.MaxConnections, 64)
	d.MaxReply = cmp.Or(d.MaxReply, 4<<20)
	return d
}

func wrong(key, format string, args ...any) error {
	return &config.KeyError{Key: key, Problem: fmt.Sprintf(format, args...)}
}

// checkURL does not quote what may have a password in it.
func checkURL(text string) error {
	u, err := url.Parse(strings.NewReplacer("{service}", "s", "{method}", "m").Replace(text))
	switch {
	case text == "":
		return wrong("url", "is missing: it is to be such as http://127.0.0.1:8080/{method}")
	case err != nil:
		return wrong("url", "cannot be read: it is to be such as http://127.0.0.1:8080/{method}")
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("url", "must begin with http:// or https://, got %q", u.Scheme)
	case u.Host == "":
		return wrong("url", "names no host")
	case u.User != nil:
		return wrong("url", "must have no user and password: send them with headers, as Authorization")
	case u.Fragment != "":
		return wrong("url", "must have no fragment: it would not be sent")
	case strings.Contains(u.Host, "{") || strings.Contains(u.Path, "{") || strings.Contains(u.RawQuery, "{"):
		return wrong("url", "can have {service} and {method} in its path, and no other braces")
	}
	_, rest, _ := strings.Cut(text, "://")
	host, _, _ := strings.Cut(rest, "/")
	_, query, _ := strings.Cut(rest, "?")
	if strings.Contains(host+query, "{") {
		return wrong("url", "can have {service} and {method} in its path alone: a caller must not choose the host")
	}
	return nil
}

// own are the headers that the calls set.
var own = []string{
	"Content-Type", "Content-Length", "Idempotency-Key", "Grpc-Timeout", "Request-Timeout", "Traceparent", "Tracestate",
	"Rabbitrpc-Service", "Rabbitrpc-Method", "Rabbitrpc-Caller", "Rabbitrpc-User", "Rabbitrpc-Attempt",
	"Connection", "Transfer-Encoding", "Upgrade", "Trailer", "Te", "Accept-Encoding",
	"X-Idempotency-Key", // with which net/http sends requests again, whatever idempotent says
}

// checkHeaders quotes no values, which may be secrets.
func checkHeaders(headers map[string]config.Hidden) error {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return wrong("headers", "must have names of HTTP headers, got %q", name)
		case !httpguts.ValidHeaderFieldValue(string(headers[name])):
			return wrong("headers."+name, "has a value that HTTP does not allow")
		case slices.Contains(own, http.CanonicalHeaderKey(name)):
			return wrong("headers."+name, "is set for each call, and cannot be configured")
		}
	}
	return nil
}

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
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Config says which server answers, and within which bounds. Zero values are the defaults.
type Config struct {
	// URL is where requests go, http or https. {service} and {method} in its path stand for what is called.
	URL string `koanf:"url"`

	// Verb is the method of the requests: POST by default. GET, HEAD and OPTIONS are sent without a body.
	Verb string `koanf:"verb"`

	// Headers are sent with each request.
	Headers map[string]string `koanf:"headers"`

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

// Validate reports what of the configuration cannot work.
func (c Config) Validate() error {
	_, err := c.withDefaults()
	return err
}

func (c Config) withDefaults() (Config, error) {
	if c.Verb == "" {
		c.Verb = http.MethodPost
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 64
	}
	if c.MaxReply == 0 {
		c.MaxReply = 4 << 20
	}
	if err := checkURL(c.URL); err != nil {
		return c, err
	}
	switch {
	case strings.ToUpper(c.Verb) != c.Verb || !httpguts.ValidHeaderFieldName(c.Verb) || c.Verb == http.MethodConnect:
		return c, fmt.Errorf("verb must be an HTTP method such as POST, got %q", c.Verb)
	case c.MaxConnections < 1 || c.MaxConnections > maxConnections:
		return c, fmt.Errorf("max_connections must be 1 to %d, got %d", maxConnections, c.MaxConnections)
	case c.MaxReply < 1 || c.MaxReply > maxReply:
		return c, fmt.Errorf("max_reply must be 1 to %d, got %d", maxReply, c.MaxReply)
	}
	return c, checkHeaders(c.Headers)
}

// checkURL does not quote what may have a password in it.
func checkURL(text string) error {
	u, err := url.Parse(strings.NewReplacer("{service}", "s", "{method}", "m").Replace(text))
	switch {
	case text == "":
		return errors.New("url is empty: it is to be such as http://127.0.0.1:8080/{method}")
	case err != nil:
		return errors.New("url cannot be parsed: it is to be such as http://127.0.0.1:8080/{method}")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("url must begin with http:// or https://, got %q", u.Scheme)
	case u.Host == "":
		return errors.New("url names no host")
	case u.User != nil:
		return errors.New("url must have no user and password: send them with headers, as Authorization")
	case u.Fragment != "":
		return errors.New("url must have no fragment: it would not be sent")
	case strings.Contains(u.Host, "{") || strings.Contains(u.Path, "{") || strings.Contains(u.RawQuery, "{"):
		return errors.New("url can have {service} and {method} in its path, and no other braces")
	}
	before, _, _ := strings.Cut(strings.SplitN(text, "://", 2)[1], "/")
	_, query, _ := strings.Cut(text, "?")
	if strings.Contains(before+query, "{") {
		return errors.New("url can have {service} and {method} in its path alone: a caller must not choose the host")
	}
	return nil
}

// own are the headers that the calls set.
var own = []string{
	"Content-Type", "Content-Length", "Idempotency-Key", "Grpc-Timeout", "Request-Timeout", "Traceparent", "Tracestate",
	"Rabbitrpc-Service", "Rabbitrpc-Method", "Rabbitrpc-Caller", "Rabbitrpc-User", "Rabbitrpc-Attempt",
	"Connection", "Transfer-Encoding", "Upgrade", "Trailer", "Te", "Accept-Encoding",
}

// checkHeaders quotes no values, which may be secrets.
func checkHeaders(headers map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("headers must have names of HTTP headers, got %q", name)
		case !httpguts.ValidHeaderFieldValue(headers[name]):
			return fmt.Errorf("header %s has a value that HTTP does not allow", name)
		case slices.Contains(own, http.CanonicalHeaderKey(name)):
			return fmt.Errorf("header %s is set for each call, and cannot be configured", name)
		}
	}
	return nil
}

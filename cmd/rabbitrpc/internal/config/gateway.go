package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/token"
)

// Gateway says where rabbitrpc gateway listens, who may call, and within which bounds.
type Gateway struct {
	Listen         string        `koanf:"listen"`     // host and port
	TokenFile      string        `koanf:"token_file"` // one line, which requests must have as Authorization: Bearer
	Token          Hidden        `koanf:"token"`      // the same, for the environment
	Open           bool          `koanf:"open"`       // listen without a token where other hosts can connect, too
	Name           string        `koanf:"name"`       // of the client, within which servers deduplicate
	User           string        `koanf:"user"`       // said in each request
	Timeout        time.Duration `koanf:"timeout"`    // of requests that bring none
	MaxTimeout     time.Duration `koanf:"max_timeout"`
	MaxBody        int           `koanf:"max_body"`        // bytes
	BodyMemory     int           `koanf:"body_memory"`     // bytes of all bodies, of requests and replies, at a time
	MaxConnections int           `koanf:"max_connections"` // and so calls at a time: more wait
	Drain          time.Duration `koanf:"drain"`           // how long calls may take once it is to end
}

// DefaultGateway is the gateway of a configuration that says nothing of it.
func DefaultGateway() Gateway {
	return Gateway{
		Listen: "127.0.0.1:8080", Name: "rabbitrpc-gateway", Timeout: 10 * time.Second, MaxTimeout: 5 * time.Minute,
		MaxBody: 4 << 20, BodyMemory: 256 << 20, MaxConnections: 1000, Drain: 30 * time.Second,
	}
}

const (
	longestTimeout  = 24 * time.Hour // of the protocol
	largestBody     = 512 << 20      // RabbitMQ takes no more, however it is set up
	mostConnections = 100_000
)

// Check reports what cannot work, or would be open to strangers.
func (g *Gateway) Check() error {
	wrong := func(key, format string, args ...any) error {
		return &KeyError{Key: key, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case g.Name == "" || len(g.Name) > 255:
		return wrong("name", "must have 1 to 255 bytes, got %d", len(g.Name))
	case len(g.User) > 255:
		return wrong("user", "must have at most 255 bytes, got %d", len(g.User))
	case g.MaxTimeout < time.Millisecond || g.MaxTimeout > longestTimeout:
		return wrong("max_timeout", "must be 1ms to %v, got %v", longestTimeout, g.MaxTimeout)
	case g.Timeout < time.Millisecond || g.Timeout > g.MaxTimeout:
		return wrong("timeout", "must be 1ms to %v, which is max_timeout, got %v", g.MaxTimeout, g.Timeout)
	case g.MaxBody < 1 || g.MaxBody > largestBody:
		return wrong("max_body", "must be 1 to %d, got %d", largestBody, g.MaxBody)
	case g.BodyMemory < g.MaxBody:
		return wrong("body_memory", "must be %d, which is max_body, or more, got %d", g.MaxBody, g.BodyMemory)
	case g.MaxConnections < 1 || g.MaxConnections > mostConnections:
		return wrong("max_connections", "must be 1 to %d, got %d", mostConnections, g.MaxConnections)
	case g.Drain < 0:
		return wrong("drain", "must not be negative, got %v", g.Drain)
	}
	secret, err := g.Bearer()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(g.Listen)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		return wrong("listen", "must be a host and a port, as in 127.0.0.1:8080, got %q", g.Listen)
	}
	if !IsLoopback(host) && secret == "" && !g.Open {
		return wrong("listen", "%s can be reached from other hosts, and anybody could call: set token_file, or open to let them", g.Listen)
	}
	return nil
}

// Bearer reads the token; it is empty if requests need none.
func (g *Gateway) Bearer() (string, error) {
	if g.TokenFile != "" && g.Token != "" {
		return "", &KeyError{Key: "token", Problem: "is there beside token_file: want one of them, or neither"}
	}
	secret, key := string(g.Token), "token"
	if g.TokenFile != "" {
		var err error
		if secret, err = Secret("token_file", g.TokenFile); err != nil {
			return "", err
		}
		key = "token_file"
	}
	if err := token.Check(secret); err != nil {
		return "", &KeyError{Key: key, Problem: err.Error()}
	}
	return secret, nil
}

// IsLoopback reports whether a host is this one, and can be reached from here only. Names are not looked up.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/singleflight"
)

// An Option changes a default of [Open].
type Option func(*options)

type options struct {
	name       string
	log        *slog.Logger
	heartbeat  time.Duration
	tls        func() (*tls.Config, error) // nil, or returning nil: what the URL says
	login      func() (user, password string, err error)
	asked      *singleflight.Group // to have only one of each running
	minBackoff time.Duration
	maxBackoff time.Duration
	dial       DialFunc
	background bool
	hooks      []Hooks
	library    bool // without the data plane
}

// A DialFunc opens a network connection to the broker at addr, a host and port. It must respect ctx.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func newOptions(opts []Option) (*options, error) {
	o := &options{
		name:       filepath.Base(os.Args[0]),
		log:        slog.Default(),
		heartbeat:  10 * time.Second,
		minBackoff: 100 * time.Millisecond,
		maxBackoff: 15 * time.Second,
		asked:      new(singleflight.Group),
	}
	on, err := dataPlaneByDefault()
	if err != nil {
		return nil, err
	}
	o.library = !on
	for _, opt := range opts {
		opt(o)
	}
	if o.dial == nil {
		o.dial = defaultDial(o.heartbeat)
	}
	return o, o.validate()
}

func (o *options) validate() error {
	if o.heartbeat < time.Second || o.heartbeat > 10*time.Minute || o.heartbeat%time.Second != 0 {
		return fmt.Errorf("heartbeat must be whole seconds, 1s to 10m, got %v", o.heartbeat)
	}
	if o.minBackoff <= 0 || o.maxBackoff < o.minBackoff {
		return fmt.Errorf("backoff must be 0 < min <= max, got %v and %v", o.minBackoff, o.maxBackoff)
	}
	if o.log == nil {
		return errors.New("the logger is nil")
	}
	if len(o.name) > 200 {
		return fmt.Errorf("name has %d bytes, at most 200 are allowed", len(o.name))
	}
	return nil
}

// WithName names the connections in the broker's management and logs. Default: the name of the program.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithLogger sets where connects, lost sessions and refusals are logged. Default: slog.Default.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithHeartbeat sets the interval in which both sides show that they are alive: whole seconds, 1s to 10m, default 10s.
// A parameter heartbeat of the URL wins, and the broker may ask for less. A dead connection is noticed after 1.5 times that.
func WithHeartbeat(d time.Duration) Option { return func(o *options) { o.heartbeat = d } }

// WithTLS sets the TLS configuration for amqps URLs, in place of the files that a URL names; it is cloned for each dial.
// Default: the system's roots and those files (cacertfile, certfile, keyfile), read afresh for each dial. TLS 1.2 is the least
// that is spoken.
func WithTLS(c *tls.Config) Option { return WithTLSFrom(func() (*tls.Config, error) { return c, nil }) }

// WithTLSFrom calls f for the TLS configuration of amqps URLs at each dial, so that renewed certificates need no
// restart. If f returns nil, the default that [WithTLS] describes is used; if it returns an error, the dial fails and is
// tried again. f has 10 s; while it runs it is not called again, and all dials wait for it.
func WithTLSFrom(f func() (*tls.Config, error)) Option { return func(o *options) { o.tls = f } }

// WithCredentials calls f for user and password at each dial, so that a new password needs no restart. An empty user
// means that of the URL. If f returns an error, the dial fails and is tried again; the error must not contain the
// password. f has 10 s; while it runs it is not called again, and all dials wait for it. Open sessions stay open.
func WithCredentials(f func() (user, password string, err error)) Option {
	return func(o *options) { o.login = f }
}

// WithBackoff sets the bounds of the wait between two dials: a random time between zero and a limit that doubles from
// min to max. Default 100ms to 15s.
func WithBackoff(min, max time.Duration) Option {
	return func(o *options) { o.minBackoff, o.maxBackoff = min, max }
}

// WithDialer sets how network connections are opened. Default: a net.Dialer with a timeout of 5s, which resolves the
// host's name anew each time.
func WithDialer(d DialFunc) Option { return func(o *options) { o.dial = d } }

// WithBackgroundDial lets Open return before the first session is there, so that a program can start while its broker
// is down.
func WithBackgroundDial() Option { return func(o *options) { o.background = true } }

// WithoutDataPlane lets the AMQP library write and read messages: about two thirds of the calls per second, and a
// publish waits for a slow network, even beyond the deadline of its call. Use it to find out whether the data plane is
// at fault. The environment variable RABBITRPC_DATAPLANE=off does the same for a whole program.
func WithoutDataPlane() Option { return func(o *options) { o.library = true } }

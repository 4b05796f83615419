package conn

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// An Option changes a default of [Open].
type Option func(*options)

type options struct {
	name       string
	log        *slog.Logger
	heartbeat  time.Duration
	tls        *tls.Config
	minBackoff time.Duration
	maxBackoff time.Duration
	dial       DialFunc
	background bool
	library    bool // without the data plane
}

// A DialFunc opens a network connection to the broker at addr, a host and port. It must respect ctx.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func (o *options) validate() error {
	if o.heartbeat < time.Second || o.heartbeat > 10*time.Minute || o.heartbeat%time.Second != 0 {
		return fmt.Errorf("heartbeat must be whole seconds, 1s to 10m, got %v", o.heartbeat)
	}
	if o.minBackoff <= 0 || o.maxBackoff < o.minBackoff {
		return fmt.Errorf("backoff must be 0 < min <= max, got %v and %v", o.minBackoff, o.maxBackoff)
	}
	if len(o.name) > 200 {
		return fmt.Errorf("name has %d bytes, at most 200 are allowed", len(o.name))
	}
	return nil
}

// WithName names the connections in the broker's management and logs. Default: the name of the program.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithLogger sets where connecting, losing a session and refusals are said. Default: slog.Default.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithHeartbeat sets the interval in which both sides show that they are alive: whole seconds, 1s to 10m, default 10s.
// A parameter heartbeat of the URL wins, and the broker may ask for less. A dead connection is noticed after 1.5 times that.
func WithHeartbeat(d time.Duration) Option { return func(o *options) { o.heartbeat = d } }

// WithTLS sets the TLS configuration for amqps URLs; it is cloned for each dial. Default: the system's roots and the
// files that the URL names (cacertfile, certfile, keyfile), read afresh for each dial.
func WithTLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

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

// WithoutDataPlane has the AMQP library write and read messages, too: about two thirds of the calls per second. It is for finding
// out whether the data plane is at fault. The same for a whole program: the environment variable RABBITRPC_DATAPLANE=off.
func WithoutDataPlane() Option { return func(o *options) { o.library = true } }

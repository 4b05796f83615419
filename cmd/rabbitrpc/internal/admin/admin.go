// Package admin is the HTTP listener for those who look after a process: probes, metrics, profiles and the status page. It
// changes nothing, and takes no more than a fixed number of connections, each for a fixed time.
//
// Without a token it listens on loopback only, and answers only who asks by an IP address or as localhost, so that no page on
// the Internet can have a browser ask in its place under a name of its own (DNS rebinding). With a token all but the probes
// wants that, as a bearer or, from browsers, as a password.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/status"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/token"
)

// DefaultAddr is where to listen unless somebody wants it elsewhere.
const DefaultAddr = "127.0.0.1:9672"

const (
	maxConnections = 64
	closeTimeout   = time.Second // for answers that are on their way
	maxScrapes     = 4           // at a time
)

// Config says what to listen for, and what to answer with.
type Config struct {
	Addr  string // host and port
	Token string // at least 16 bytes; "" for none
	Open  bool   // without a token, though other hosts can reach the address

	Checks  func() []status.Check
	Status  func() status.Status
	Metrics prometheus.Gatherer
	Log     *slog.Logger
}

// A Listener answers. Make it with [Listen].
type Listener struct {
	listener net.Listener
	server   *http.Server
}

// CheckAddr returns the error with which [Listen] would refuse an address before it tries it. Open is for one that may be reached
// from other hosts.
func CheckAddr(addr string, open bool) error {
	_, err := resolve(addr, open)
	return err
}

func resolve(addr string, open bool) (*net.TCPAddr, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("must be an address and a port, such as %s: %w", DefaultAddr, err)
	}
	if !open && !a.IP.IsLoopback() {
		return nil, fmt.Errorf("%s can be reached from other hosts: set a token, or listen on %s", addr, DefaultAddr)
	}
	return a, nil
}

// Listen opens the listener, so that who starts a process learns at once that it cannot be. Run answers.
func Listen(c Config) (*Listener, error) {
	if err := token.Check(c.Token); err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	addr, err := resolve(c.Addr, c.Token != "" || c.Open)
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	l, err := net.ListenTCP("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("admin listener: %s is taken, by another rabbitrpc or another program: choose another port, or 0 for any", c.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	g := &guard{token: c.Token, next: c.routes()}
	return &Listener{
		listener: netutil.LimitListener(l, maxConnections),
		server: &http.Server{
			Handler:           g,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      10 * time.Second, // profiles have their length more
			IdleTimeout:       30 * time.Second,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
		},
	}, nil
}

// Addr returns the address that it listens on.
func (l *Listener) Addr() string { return l.listener.Addr().String() }

// Run answers until ctx ends, then ends the answers that are on their way.
func (l *Listener) Run(ctx context.Context) error {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if l.server.Shutdown(ctx) != nil {
			l.server.Close()
		}
	})
	err := l.server.Serve(l.listener)
	if stop() { // it ended by itself
		l.server.Close()
		return fmt.Errorf("admin listener: %w", err)
	}
	<-closed
	return nil
}

func (c *Config) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", livez)
	mux.HandleFunc("GET /readyz", c.readyz)
	mux.HandleFunc("GET /status.json", c.statusJSON)
	mux.HandleFunc("GET /{$}", statusPage)
	mux.Handle("GET /metrics", metrics(c.Metrics))
	mux.Handle("GET /debug/pprof/", profiles())
	return mux
}

func metrics(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true,
	})
}

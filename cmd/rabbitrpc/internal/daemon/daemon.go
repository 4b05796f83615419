// Package daemon serves the services of a configuration in one process, over one connection with the broker.
//
// A service is never changed. When a new configuration is read, one that differs is started beside the old one, which drains
// once the new one takes calls: so callers see nothing of it, and what a service may change is whatever it can start with.
// What it remembers of calls is shared by both.
//
// # Concurrency
//
// The methods of a [Daemon] may be called at any time, on any goroutine.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Options are what a daemon is made of.
type Options struct {
	Config   *config.Loaded
	Reload   func() (*config.Loaded, error) // reads the configuration again
	Reloads  <-chan os.Signal               // asks for that
	Ready    func(addr string)              // is called once, when all services take calls, with the address of the broker
	SetLevel func(level string)             // changes the level of Log
	Log      *slog.Logger

	// More, for those who observe: options of the connection and of each server, what is told of the connection, and of each
	// server, whose end it then tells.
	Conn   []conn.Option
	Server []server.Option
	Opened func(*conn.Manager)
	Built  func(*server.Server) (ended func())
}

// A Daemon serves. Make it with [New].
type Daemon struct {
	opts       Options
	log        *slog.Logger
	config     config.Config // what is in force; New's, then that of the goroutine that reloads
	fail       context.CancelCauseFunc
	broker     atomic.Pointer[config.Broker] // for the next dial
	conn       atomic.Pointer[conn.Manager]
	ready      atomic.Bool
	draining   atomic.Bool
	background sync.WaitGroup
	system     systemd
	memories   memories

	mu       sync.Mutex // guards what follows
	services []*service // in the order of the configuration
	retired  []*service // those that drain, since others have taken their places or they are gone
	refused  []string   // what the last reload could not start
}

// New makes a daemon. It does no I/O: Run does.
func New(o Options) *Daemon {
	d := &Daemon{opts: o, log: o.Log, config: o.Config.Config, system: systemd{log: o.Log}, memories: memories{log: o.Log, limit: openLimit}}
	d.broker.Store(&o.Config.Broker)
	return d
}

// Run serves until ctx ends, and then drains all services. It returns an error if one of them cannot be started, cannot go on
// or has not drained in time. It can be called once.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	d.fail = fail
	b := d.broker.Load()
	m, err := conn.Open(ctx, string(b.URL), append(slices.Clone(d.opts.Conn),
		conn.WithBackgroundDial(), conn.WithName(b.Name), conn.WithLogger(d.log),
		conn.WithCredentials(func() (string, string, error) { return d.broker.Load().Credentials() }),
		conn.WithTLSFrom(func() (*tls.Config, error) { return d.broker.Load().TLS.Config() }))...)
	if err != nil {
		return err
	}
	if d.opts.Opened != nil {
		d.opts.Opened(m)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = m.Close(ctx) // the process ends here: the broker notices, one way or the other
	}()
	d.conn.Store(m)
	services, err := d.buildAll(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // it is to end
		}
		return err
	}
	d.set(services, nil)
	for _, s := range services {
		s.start(ctx)
		d.background.Go(func() { d.guard(s) })
	}
	d.background.Go(func() {
		if d.announce(ctx) {
			d.reloads(ctx)
		}
	})
	ended := make(chan struct{})
	go func() { d.background.Wait(); close(ended) }()
	d.supervise(ctx, ended)
	return d.result()
}

// buildAll builds all services, or none.
func (d *Daemon) buildAll(ctx context.Context) (services []*service, err error) {
	for _, c := range d.config.Services {
		s, err := d.build(ctx, c)
		if err != nil {
			for _, s := range services {
				s.end()
			}
			return nil, err
		}
		services = append(services, s)
	}
	return services, nil
}

// guard ends the daemon with a service that ends by itself, and returns when it has ended.
func (d *Daemon) guard(s *service) {
	<-s.done
	retired := d.gone(s)
	switch {
	case !s.stopped():
		d.fail(s.failure())
	case retired && s.err != nil:
		d.log.Error("service did not end well", "service", s.config.Name, "err", s.err)
	}
}

// announce waits until all services take calls, and says so, unless ctx ends before.
func (d *Daemon) announce(ctx context.Context) bool {
	for waiting := d.current(); len(waiting) > 0; {
		select {
		case <-waiting[0].server.Ready():
			waiting = waiting[1:]
		case <-d.opts.Reloads: // it may be what they wait for
			d.reload(ctx)
			waiting = d.current()
		case <-ctx.Done():
			return false
		}
	}
	d.ready.Store(true)
	d.system.say("READY=1", d.status())
	d.opts.Ready(d.Broker().Addr)
	return true
}

// supervise tells systemd how it goes until everything has ended.
func (d *Daemon) supervise(ctx context.Context, ended <-chan struct{}) {
	tick := d.system.ticker()
	defer tick.Stop()
	stop := ctx.Done()
	d.pulse()
	for {
		select {
		case <-tick.C:
			d.pulse()
		case <-stop:
			stop = nil
			d.draining.Store(true)
			drain, stop := d.limits()
			d.log.Info("draining", "limit", drain)
			d.system.say("STOPPING=1", d.status(), extend(stop+closing))
		case <-ended:
			return
		}
	}
}

// result returns why the services ended, if that was not well.
func (d *Daemon) result() error {
	var errs []error
	for _, s := range d.current() {
		if s.err != nil {
			errs = append(errs, s.failure())
		}
	}
	if len(errs) == 0 {
		d.log.Info("drained")
	}
	return errors.Join(errs...)
}

// Broker is the state of the connection.
func (d *Daemon) Broker() conn.State {
	if m := d.conn.Load(); m != nil {
		return m.State()
	}
	return conn.State{}
}

// A State is what a service is doing.
type State struct {
	Config config.Service
	Ready  bool // it has taken calls
	Stats  server.Stats
}

// Services are the states of all services. One that was changed counts anew.
func (d *Daemon) Services() (states []State) {
	for _, s := range d.current() {
		states = append(states, State{Config: s.config, Ready: s.isReady(), Stats: s.server.Stats()})
	}
	return states
}

// Servers are the servers of all services, in the order of the configuration; none while they are being set up.
func (d *Daemon) Servers() (servers []*server.Server) {
	for _, s := range d.current() {
		servers = append(servers, s.server)
	}
	return servers
}

func (d *Daemon) current() []*service {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.services)
}

func (d *Daemon) set(services []*service, refused []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.services, d.refused = services, refused
}

// put puts a service in the place of old.
func (d *Daemon) put(s, old *service) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.services = slices.Clone(d.services)
	d.services[slices.Index(d.services, old)] = s
}

// limits are how long the longest drain may take, and how long that with what its kind needs to close.
func (d *Daemon) limits() (drain, stop time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range slices.Concat(d.services, d.retired) {
		closing := time.Duration(0)
		if c, ok := s.config.Own.(interface{ Closing() time.Duration }); ok {
			closing = c.Closing()
		}
		drain, stop = max(drain, s.config.Drain), max(stop, s.config.Drain+closing)
	}
	return drain, stop
}

func (s *service) failure() error { return fmt.Errorf("service %s: %w", s.config.Name, s.err) }

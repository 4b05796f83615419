// Package demo shows what calls survive: it kills servers and a broker under load and counts what became of the calls.
// Only real processes take part, and what it prints is what it has seen.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const (
	callers     = 16
	callTimeout = 30 * time.Second // outlasts a restart of the broker
	closeLimit  = 2 * time.Second

	// All wait less between two dials than the defaults would have them: here they are alone with their broker.
	minBackoff, maxBackoff = 50 * time.Millisecond, time.Second
)

// Config is what the demo needs of its command.
type Config struct {
	Out io.Writer
	Log *slog.Logger

	// Server returns the command of a process that runs [Serve]. The demo sets its standard input and output.
	Server func(name, url string) *exec.Cmd
}

// A demo is one run.
type demo struct {
	Config
	start   time.Time
	node    *chaos.Node
	servers []*process
	events  chan event
	load    *load
	client  *client.Client
	report  report
}

// Run runs the demo. The error says how many calls failed, or why the demo could not go on. When it returns nothing is
// left of the broker and the servers.
func Run(ctx context.Context, c Config) error {
	d := &demo{Config: c, start: time.Now(), events: make(chan event, 1024)}
	d.say("starting a private RabbitMQ")
	node, err := chaos.StartNode(ctx)
	if err != nil {
		return err
	}
	d.node = node
	err = errors.Join(d.run(ctx), node.Close())
	if err == nil {
		d.say("the servers and the broker are gone, their files too")
	}
	return err
}

func (d *demo) run(ctx context.Context) error {
	d.say("RabbitMQ runs at %s", address(d.node.URL()))
	defer func() {
		for _, s := range d.servers {
			s.kill()
		}
	}()
	for range 2 {
		if _, err := d.addServer(ctx); err != nil {
			return err
		}
	}
	m, err := conn.Open(ctx, d.node.URL(), conn.WithName("rabbitrpc demo"), conn.WithLogger(d.Log),
		conn.WithBackoff(minBackoff, maxBackoff))
	if err != nil {
		return err
	}
	defer closeWithin(closeLimit, m.Close)
	if d.client, err = client.New(m, client.WithTimeout(callTimeout)); err != nil {
		return err
	}
	defer closeWithin(closeLimit, d.client.Close)
	d.load = newLoad(d.client)
	stop := d.load.start(ctx)
	defer stop()
	if err := d.phases(ctx, stop); err != nil {
		return err
	}
	d.report.write(d.Out)
	return d.report.err()
}

// phases runs the parts of the demo. After the last one the callers are stopped, and the calls that they end with are
// part of it.
func (d *demo) phases(ctx context.Context, stopCallers func()) error {
	phases := [...]struct {
		name string
		run  func(context.Context) error
	}{
		{"calls", d.calls},
		{"a server is killed", d.killServer},
		{"a new server", d.newServer},
		{"the broker is killed", d.killBroker},
	}
	for i, p := range phases {
		err := p.run(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, errors.Join(err, d.load.take().failure))
		}
		if i == len(phases)-1 {
			stopCallers()
		}
		d.report.add(p.name, d.load.take(), d.client.Stats().Resent)
	}
	return nil
}

// say prints a line with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.Out, "%5.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func closeWithin(limit time.Duration, close func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = close(ctx) // the broker is about to go anyway
}

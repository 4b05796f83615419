package chaos

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

// ErrDown tells that a node is not running: there is nothing to kill, pause or resume.
var ErrDown = errors.New("node is down")

// A Node is a private RabbitMQ broker with the user guest, password guest. It listens on the loopback interface only
// and keeps all that it writes in a temporary folder.
//
// Nothing of it is left running or on disk after Close, nor when this process panics, exits or is killed without it.
type Node struct {
	guard   *guard
	install install
	name    string // of the Erlang node
	port    int    // of AMQP
	env     []string
	epmd    *process

	mu     sync.Mutex // guards what follows
	broker *process   // the latest life; nil before the first
	closed bool

	closing  sync.Once
	closeErr error
}

// An Option changes a node from the default.
type Option func(*options)

type options struct{ config, plugins []string }

// WithConfig adds lines to rabbitmq.conf, such as "consumer_timeout = 3000".
func WithConfig(lines ...string) Option {
	return func(o *options) { o.config = append(o.config, lines...) }
}

// WithPlugins enables plugins that come with RabbitMQ, such as "rabbitmq_auth_mechanism_ssl".
func WithPlugins(names ...string) Option {
	return func(o *options) { o.plugins = append(o.plugins, names...) }
}

// StartNode starts a node and waits until it answers. It runs the rabbitmq-server that the environment variable
// RABBITMQ_SERVER names, else the one on PATH. If the broker fails to start, the error shows what it says.
func StartNode(ctx context.Context, opts ...Option) (*Node, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	in, err := findInstall()
	if err != nil {
		return nil, err
	}
	p, err := freePorts()
	if err != nil {
		return nil, err
	}
	g, err := startGuard()
	if err != nil {
		return nil, err
	}
	n := &Node{guard: g, install: in, name: fmt.Sprintf("chaos%d@localhost", p.amqp), port: p.amqp}
	if err := n.init(ctx, p, o); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) init(ctx context.Context, p ports, o options) error {
	if err := writeFiles(n.guard.dir, p, o); err != nil {
		return err
	}
	n.env = environment(n.guard.dir, n.name, p)
	if err := n.startNames(ctx, p); err != nil {
		return err
	}
	return n.Start(ctx)
}

// URL returns the address for clients. It stays the same through Stop, Kill and Start.
func (n *Node) URL() string { return "amqp://guest:guest@" + address(n.port) }

// Log returns the path of the broker's log, which holds all its lives.
func (n *Node) Log() string { return filepath.Join(n.guard.dir, logFile) }

// Start starts a node that was stopped or killed, with the ports and the data that it had, and waits until it answers,
// a minute at most. Of a running node it only waits. If a start fails, or ctx ends, the node is down.
func (n *Node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, launched, err := n.launch()
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	if err := p.awaitReady(ctx, address(n.port)); err != nil {
		if launched {
			p.kill()
		}
		return fmt.Errorf("start broker: %w\n%s", err, reason(n.Log(), p.logOffset))
	}
	return nil
}

// launch returns the running broker, and whether this call is what made it run.
func (n *Node) launch() (p *process, launched bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, false, errors.New("node is closed")
	}
	if n.broker.alive() {
		return n.broker, false, nil
	}
	log, offset, err := openLog(n.Log())
	if err != nil {
		return nil, false, err
	}
	defer log.Close() // the broker has a copy
	cmd := n.guard.command(n.env, n.install.server)
	cmd.Stdout, cmd.Stderr = log, log
	if p, err = n.guard.start(cmd); err != nil {
		return nil, false, err
	}
	p.logOffset = offset
	n.broker = p
	return p, true, nil
}

// Stop shuts the node down in good order: it tells its clients and keeps its durable data. If ctx ends before that is
// done, the shutdown goes on. A paused node is resumed for it.
func (n *Node) Stop(ctx context.Context) error {
	p, err := n.running()
	if err != nil {
		return nil // stopped already
	}
	p.signal(terminate) // an error: it has just ended
	p.signal(resume)    // or a paused node keeps the other signal for later
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop broker: %w", context.Cause(ctx))
	}
}

// Restart is Stop and Start.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Stop(ctx); err != nil {
		return err
	}
	return n.Start(ctx)
}

// Kill ends the node at once (SIGKILL): it can neither flush nor say goodbye. It returns when the node is gone.
func (n *Node) Kill() error {
	p, err := n.running()
	if err != nil {
		return fmt.Errorf("kill broker: %w", err)
	}
	p.kill()
	return nil
}

// Pause freezes the node (SIGSTOP). Its connections stay open, and from when Pause returns, nothing comes from them.
func (n *Node) Pause() error {
	p, err := n.running()
	if err == nil {
		err = p.freeze()
	}
	if err != nil {
		return fmt.Errorf("pause broker: %w", err)
	}
	return nil
}

// Resume lets a paused node go on.
func (n *Node) Resume() error {
	p, err := n.running()
	if err == nil {
		err = p.signal(resume)
	}
	if err != nil {
		return fmt.Errorf("resume broker: %w", err)
	}
	return nil
}

// running returns the broker's process. The error is ErrDown.
func (n *Node) running() (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.broker.alive() {
		return nil, ErrDown
	}
	return n.broker, nil
}

// Close ends the node and removes all that it wrote. More calls return the same error.
func (n *Node) Close() error {
	n.closing.Do(func() {
		n.mu.Lock()
		n.closed = true // no life after this one
		broker := n.broker
		n.mu.Unlock()

		broker.kill()
		n.epmd.kill()
		if err := n.guard.close(); err != nil {
			n.closeErr = fmt.Errorf("close node: %w", err)
		}
	})
	return n.closeErr
}

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// A Node is a private RabbitMQ broker with the user guest, password guest. It listens on the loopback interface only
// and keeps all that it writes in a temporary folder.
//
// Nothing of it is left running or on disk after Close, nor when this process panics, exits or is killed without it.
type Node struct {
	daemon
	install install
	name    string // of the Erlang node
	env     []string
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
	g, err := startGuard(nil)
	if err != nil {
		return nil, err
	}
	n := &Node{install: in, name: fmt.Sprintf("chaos%d@localhost", p.amqp)}
	n.title, n.guard, n.port, n.probe, n.end = "broker", g, p.amqp, probeBroker, terminate
	n.command = func() *exec.Cmd { return g.command(n.env, in.server) }
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

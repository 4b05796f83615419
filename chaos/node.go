package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os/exec"
)

// A Node is a private RabbitMQ broker with the user guest, password guest. It listens on the loopback interface only
// and keeps all that it writes in a temporary folder.
//
// Nothing of it is left running or on disk after Close, nor when this process panics, exits or is killed without it.
type Node struct {
	daemon
	place
	install install
	env     []string
	proxy   *Proxy // nil outside of a namespace
	ownsNet bool   // the namespace ends with the node
}

// An Option changes a node from the default.
type Option func(*options)

type options struct {
	config, plugins []string
	namespace       bool
	tls             *tlsFiles // may be nil
	cookie          string    // what nodes that may talk with each other know
}

func newOptions(opts []Option) options {
	o := options{cookie: rand.Text()}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithConfig adds lines to rabbitmq.conf, such as "consumer_timeout = 3000".
func WithConfig(lines ...string) Option {
	return func(o *options) { o.config = append(o.config, lines...) }
}

// WithPlugins enables plugins that come with RabbitMQ, such as "rabbitmq_auth_mechanism_ssl".
func WithPlugins(names ...string) Option {
	return func(o *options) { o.plugins = append(o.plugins, names...) }
}

// InNamespace starts the node in a network namespace of its own, where packets can be dropped: see [Node.Loss] and
// [Node.DropSYN]. Clients reach it through a proxy, [Node.Proxy], whose address is that of the node's URL. Where there can
// be no namespace, the error is [ErrNoNamespace].
func InNamespace() Option {
	return func(o *options) { o.namespace = true }
}

// StartNode starts a node and waits until it answers. It runs the rabbitmq-server that the environment variable
// RABBITMQ_SERVER names, else the one on PATH. If the broker fails to start, the error shows what it says.
func StartNode(ctx context.Context, opts ...Option) (*Node, error) {
	o := newOptions(opts)
	in, err := findInstall()
	if err != nil {
		return nil, err
	}
	var ns *namespace
	if o.namespace {
		if ns, err = newNamespace(); err != nil {
			return nil, err
		}
	}
	p, err := newPlace(ns)
	if err != nil {
		return nil, err
	}
	n, err := newNode(in, p, o)
	if err != nil {
		ns.close()
		return nil, err
	}
	n.ownsNet = true
	if err := n.init(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// newNode makes a node that has not been started.
func newNode(in install, p place, o options) (*Node, error) {
	g, err := startGuard(nil)
	if err != nil {
		return nil, err
	}
	g.ns = p.ns
	n := &Node{install: in, place: p, env: environment(g.dir, p)}
	n.title, n.guard, n.end = "broker", g, terminate
	if !p.alone() {
		n.title = "broker " + p.name
	}
	n.probe = func(ctx context.Context, _ *process) error { return probeBroker(ctx, p.ns.dialer(), p.address()) }
	n.command = func() *exec.Cmd { return g.command(n.env, in.server) }
	err = writeFiles(g.dir, p, o)
	if err == nil && p.ns != nil {
		n.proxy, err = newProxy("amqp://guest:guest@"+p.address(), p.ns.dialer())
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) init(ctx context.Context) (err error) {
	if n.helper, err = startNames(ctx, n.guard, n.env, n.install, n.place); err != nil {
		return err
	}
	return n.Start(ctx)
}

// URL returns the address for clients. It stays the same through Stop, Kill and Start.
func (n *Node) URL() string { return n.URLFor("guest", "guest", "/") }

// URLFor returns the address for clients that are another user, or use another virtual host.
func (n *Node) URLFor(user, password, vhost string) string {
	u := url.URL{Scheme: "amqp", User: url.UserPassword(user, password), Host: n.address()}
	if n.proxy != nil {
		u.Host = n.proxy.addr
	}
	if vhost != "/" {
		u.Path, u.RawPath = "/"+vhost, "/"+url.PathEscape(vhost)
	}
	return u.String()
}

// Proxy returns the proxy through which the clients of a node in a namespace come. Another node has none, and gets nil.
func (n *Node) Proxy() *Proxy { return n.proxy }

// Close ends the node, and its proxy, and removes all that it wrote. More calls return the same error.
func (n *Node) Close() error {
	if n.proxy != nil {
		n.proxy.Close()
	}
	err := n.daemon.Close()
	if n.ownsNet {
		n.ns.close()
	}
	return err
}

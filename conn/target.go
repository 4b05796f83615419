package conn

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A Target is one URL of a broker, taken apart, for those who want to find out why it cannot be reached, or what is behind it.
type Target struct {
	Host   string
	Port   int
	User   string
	Vhost  string
	Secure bool // over TLS

	endpoint endpoint
	opts     *options
}

// Targets takes a list of URLs apart, which is as that of [Open], and so are its errors.
func Targets(urls string, opts ...Option) ([]*Target, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	endpoints, err := parseURLs(urls)
	if err != nil {
		return nil, err
	}
	var targets []*Target
	for _, e := range endpoints {
		u := &e.uri
		targets = append(targets, &Target{
			Host: u.Host, Port: u.Port, User: u.Username, Vhost: u.Vhost, Secure: u.Scheme == "amqps", endpoint: e, opts: o,
		})
	}
	return targets, nil
}

// String returns the URL without credentials.
func (t *Target) String() string { return t.endpoint.String() }

// URL returns the URL as it was given, with its password: for another AMQP library, and not to be shown.
func (t *Target) URL() string { return t.endpoint.url }

// Probe opens one connection, as a session would two, to ask the broker with. Its errors are those of a dial.
func (t *Target) Probe(ctx context.Context) (*Probe, error) {
	l, err := dialLink(ctx, t.endpoint, t.opts.name+" probe", t.opts)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.endpoint, err)
	}
	p := &Probe{link: l, blocked: l.conn.NotifyBlocked(make(chan amqp.Blocking, 1))}
	text := func(name string) string { s, _ := l.conn.Properties[name].(string); return s }
	p.Broker = Broker{
		Product: text("product"), Version: text("version"), Cluster: text("cluster_name"),
		Heartbeat: l.conn.Config.Heartbeat, Channels: int(l.conn.Config.ChannelMax), Frame: l.conn.Config.FrameSize,
	}
	if l.tls != nil {
		state := l.tls.ConnectionState()
		p.Broker.TLS = &state
	}
	return p, nil
}

// A Broker is what a broker says of itself, and what it has agreed to.
type Broker struct {
	Product, Version string
	Cluster          string
	Heartbeat        time.Duration // 0 for none
	Channels         int           // that a connection may have
	Frame            int           // bytes; 0 for any number
	TLS              *tls.ConnectionState
}

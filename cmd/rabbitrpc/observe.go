package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/admin"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/status"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/metrics"
)

// brokerName names the connection in metrics, checks and the status page.
const brokerName = "broker"

func adminFlag(cmd *cobra.Command) {
	cmd.Flags().String("admin", "", "answer probes, metrics and the status page at this address, such as "+admin.DefaultAddr)
}

// An observer sees what a process does, and shows it on the admin listener.
type observer struct {
	connections *metrics.Connections
	servers     *metrics.Server
	clients     *metrics.Client
	registry    *prometheus.Registry
	board       *status.Board
	link        *status.Link
}

func newObserver(command string) *observer {
	o := &observer{
		connections: metrics.NewConnections(), servers: metrics.NewServer(), clients: metrics.NewClient(),
		registry: prometheus.NewRegistry(), board: status.New(command, version()),
	}
	o.link = o.board.Link(brokerName)
	o.registry.MustRegister(o.connections, metrics.BuildInfo(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return o
}

func (o *observer) conn() []conn.Option {
	return []conn.Option{conn.WithHooks(o.connections.Hooks(brokerName)), conn.WithHooks(o.link.Hooks())}
}

// opened takes the manager that was opened with the options of conn.
func (o *observer) opened(m *conn.Manager) {
	o.connections.Watch(brokerName, m)
	o.link.Watch(m)
}

// server returns the options of all servers; each is then watched by servers.
func (o *observer) server() []server.Option {
	o.registry.MustRegister(o.servers)
	return []server.Option{server.WithHooks(o.servers.Hooks()), server.WithHooks(o.board.ServerHooks())}
}

// client returns the options of all clients; each is then given to made.
func (o *observer) client() []client.Option {
	o.registry.MustRegister(o.clients)
	return []client.Option{client.WithHooks(o.clients.Hooks()), client.WithHooks(o.board.ClientHooks())}
}

// made takes a client that was made with the options of client, before listen.
func (o *observer) made(c *client.Client) {
	o.clients.Watch(c)
	o.board.Watch(c)
}

// listen starts the admin listener. It answers until stop is called.
func (o *observer) listen(c config.Admin, log *slog.Logger) (stop func(), err error) {
	token, err := c.Token()
	if err != nil {
		return nil, err
	}
	l, err := admin.Listen(admin.Config{
		Addr: c.Listen, Token: token, Open: c.Open,
		Checks: o.board.Checks, Status: o.board.Status, Metrics: o.registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	log.Info("admin listener", "url", "http://"+l.Addr()+"/")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			log.Error("nobody answers probes any more", "err", err) // the services do not depend on it
		}
	}()
	return func() { cancel(); <-done }, nil
}

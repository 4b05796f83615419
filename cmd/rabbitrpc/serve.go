package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/daemon"
)

const serveHelp = `Serve the services of a configuration: see rabbitrpc config. Without one it is the
service math, whose one method fib answers n with the n-th Fibonacci number, for n
from 0 to 93.

It waits for a broker that is down, now and later. Once all services take calls it
prints one line. SIGINT (Ctrl-C) or SIGTERM drains: it takes no more calls, answers
those that run, and exits with 0; with 1 if they outlast --drain. A second signal kills
it, which a shell shows as 130 or 143. SIGHUP reads the configuration again, and logs of
each key that has changed whether it is in force now or needs a restart.

With --queue it also answers callers that know nothing of this protocol, such as the
client of RabbitMQ's tutorial 6, on a queue by its name.

` + tracingHelp

// serveKeys are the flags of serve besides --config, with their keys in a configuration.
var serveKeys = map[string]string{
	"url": "broker.url", "log-level": "log.level", "admin": "admin.listen",
	"queue": "services.queue", "workers": "services.workers", "drain": "services.drain", "quorum": "services.quorum",
}

func newServe() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the services of a configuration, or Fibonacci numbers: service math, method fib",
		Long:  serveHelp + "\n" + exitHelp,
		Example: `  rabbitrpc serve
  rabbitrpc serve --config rabbitrpc.yaml
  rabbitrpc serve --workers 64 --drain 10s
  rabbitrpc serve --admin 127.0.0.1:9672 # a page for browsers, and /readyz, /metrics
  rabbitrpc serve --queue rpc_queue      # answers RabbitMQ's tutorial 6 as well
  RABBITMQ_URL=amqps://me:secret@broker.example/prod rabbitrpc serve`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := given(cmd, serveKeys)
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			load := func() (*config.Loaded, error) { return loadConfig(fileOf([]string{file}), flags, false) }
			return serve(ctx, load, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file, .yaml or .toml (default: that of "+config.FileVariable+", or none)")
	urlFlag(cmd, new(string))
	logFlag(cmd, new(string), "info")
	adminFlag(cmd)
	cmd.Flags().String("queue", "", "also serve this plain queue, such as rpc_queue")
	cmd.Flags().Int("workers", 16, "calls that run at a time, of each service")
	cmd.Flags().Duration("drain", 30*time.Second, "how long running calls may take once it is to end")
	cmd.Flags().Int("quorum", 0, "serve a quorum queue, which gives a request back after so many failed deliveries")
	return cmd
}

func serve(ctx context.Context, load func() (*config.Loaded, error), out, logs io.Writer) error {
	p, end, err := begin(load, logs)
	if err != nil {
		return err
	}
	defer end()
	p.log.Info("starting", "version", version(), "services", named(p.config.Services))
	traces, err := startTracing(ctx, p.config.Tracing, p.log)
	if err != nil {
		return err
	}
	defer traces.close()
	return run(ctx, daemon.Options{
		Config:   p.config,
		Reload:   load,
		Reloads:  p.reloads,
		Log:      p.log,
		Server:   traces.server(),
		SetLevel: p.setLevel,
		Ready:    func(addr string) { fmt.Fprintln(out, readyLine(p.config.Services, addr)) },
	})
}

// run runs a daemon, with the admin listener if there is to be one.
func run(ctx context.Context, o daemon.Options) error {
	if o.Config.Admin.Listen == "" {
		return daemon.New(o).Run(ctx)
	}
	seen := newObserver("rabbitrpc serve")
	o.Conn, o.Server = append(o.Conn, seen.conn()...), append(o.Server, seen.server()...)
	o.Opened, o.Built = seen.opened, seen.servers.Watch
	d := daemon.New(o)
	seen.board.Serve(d.Servers)
	stop, err := seen.listen(o.Config.Admin, o.Log)
	if err != nil {
		return err
	}
	defer stop() // after the drain, in which it says that the process is not ready
	return d.Run(ctx)
}

// readyLine says that all services take calls, where addr is unless the connection is lost already.
func readyLine(services []config.Service, addr string) string {
	line := "serving " + named(services)
	if addr != "" {
		line += " at " + addr
	}
	return line
}

// named lists services and their plain queues.
func named(services []config.Service) string {
	var names, queues []string
	for _, s := range services {
		names = append(names, s.Name)
		if s.Queue != "" {
			queues = append(queues, printable(s.Queue, ""))
		}
	}
	text := strings.Join(names, ", ")
	switch len(queues) {
	case 0:
	case 1:
		text += " and queue " + queues[0]
	default:
		text += " and queues " + strings.Join(queues, ", ")
	}
	return text
}

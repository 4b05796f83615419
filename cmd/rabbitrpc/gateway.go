package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/gateway"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

const gatewayHelp = `Listen for HTTP, and make a call of each POST /call/SERVICE/METHOD. The body is the
request; the response is the reply, or a problem in JSON (RFC 9457) with the error's
code, and whether the call was executed and may be repeated.

Headers of a request: Content-Type; Grpc-Timeout (such as 500m) or Request-Timeout
(seconds); Idempotency-Key, the call ID under which servers know a call again;
Rabbitrpc-Wait, Rabbitrpc-At-Most-Once and Rabbitrpc-Durable (true); traceparent.

It listens on loopback, and on other addresses only if requests need a token: one line
of --token-file, or the variable RABBITRPC_GATEWAY_TOKEN. Web pages may not call.

It listens whether or not the broker is there. SIGINT (Ctrl-C) or SIGTERM drains: it
takes no more requests, answers those that it has, and exits with 0; with 1 if they
outlast --drain. A second signal kills it. SIGHUP reads configuration and token again,
and logs of each key that has changed whether it is in force now or needs a restart.
`

// gatewayKeys are the flags of gateway besides --config, with their keys in a configuration.
var gatewayKeys = map[string]string{
	"url": "broker.url", "log-level": "log.level", "admin": "admin.listen", "listen": "gateway.listen", "token-file": "gateway.token_file", "open": "gateway.open",
	"timeout": "gateway.timeout", "max-timeout": "gateway.max_timeout", "max-body": "gateway.max_body", "drain": "gateway.drain",
}

func newGateway() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Make calls for HTTP clients: POST /call/SERVICE/METHOD",
		Long:  gatewayHelp + "\n" + exitHelp,
		Example: `  rabbitrpc gateway
  curl -d 30 -H 'Content-Type: application/json' http://127.0.0.1:8080/call/math/fib
  rabbitrpc gateway --listen 10.0.0.5:8080 --token-file /run/secrets/gateway-token
  rabbitrpc gateway --config rabbitrpc.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := given(cmd, gatewayKeys)
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			load := func() (*config.Loaded, error) { return loadConfig(fileOf([]string{file}), flags, true) }
			return runGateway(ctx, load, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	d := config.DefaultGateway()
	cmd.Flags().StringVar(&file, "config", "", "configuration file, .yaml or .toml (default: that of "+config.FileVariable+", or none)")
	urlFlag(cmd, new(string))
	logFlag(cmd, new(string), "info")
	adminFlag(cmd)
	cmd.Flags().String("listen", d.Listen, "host and port")
	cmd.Flags().String("token-file", "", "file with the token that requests must have")
	cmd.Flags().Bool("open", false, "listen without a token where other hosts can connect, too")
	cmd.Flags().Duration("timeout", d.Timeout, "of requests that bring none")
	cmd.Flags().Duration("max-timeout", d.MaxTimeout, "the longest timeout that a request may have")
	cmd.Flags().Int("max-body", d.MaxBody, "bytes that a request may have")
	cmd.Flags().Duration("drain", d.Drain, "how long calls may take once it is to end")
	return cmd
}

// runGateway runs a gateway until ctx ends, with the admin listener if there is to be one.
func runGateway(ctx context.Context, load func() (*config.Loaded, error), out, logs io.Writer) error {
	p, end, err := begin(load, logs)
	if err != nil {
		return err
	}
	defer end()
	c, log := p.config, p.log
	traces, err := startTracing(ctx, c.Tracing, log)
	if err != nil {
		return err
	}
	defer traces.close()
	seen := newObserver("rabbitrpc gateway")
	changes := newChanges(p)
	m, err := conn.Open(context.WithoutCancel(ctx), string(c.Broker.URL), append(seen.conn(), conn.WithBackgroundDial(),
		conn.WithName("rabbitrpc gateway"), conn.WithLogger(log), conn.WithCredentials(changes.credentials),
		conn.WithTLSFrom(changes.tls))...)
	if err != nil {
		return err
	}
	defer closeWithin(time.Second, m.Close)
	seen.opened(m)
	caller, err := client.New(m, append(append(seen.client(), traces.client()...), client.WithName(c.Gateway.Name),
		client.WithUser(c.Gateway.User), client.WithMaxBody(c.Gateway.MaxBody), client.WithMaxInFlight(c.Gateway.MaxConnections))...)
	if err != nil {
		return err
	}
	defer closeWithin(time.Second, caller.Close)
	seen.made(caller)
	seen.board.Until(ctx, "gateway")
	if c.Admin.Listen != "" {
		stop, err := seen.listen(c.Admin, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	g, err := gateway.New(c.Gateway, caller.Do, log)
	if err != nil {
		return err
	}
	l, err := g.Listen(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "gateway at http://%s\n", l.Addr())
	var background sync.WaitGroup
	defer background.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	background.Go(func() { changes.follow(ctx, g) })
	return g.Serve(ctx, l)
}

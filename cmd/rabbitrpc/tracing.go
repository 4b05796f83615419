package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/otlp"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/tracing"
)

// flushTimeout bounds what a collector that is down costs when the program ends.
const flushTimeout = time.Second

const tracingHelp = `Traces go to the OpenTelemetry collector that OTEL_EXPORTER_OTLP_ENDPOINT names, such
as http://localhost:4318, if it names one.
`

// A tracer exports the traces of this program; the zero tracer makes none.
type tracer struct{ provider *sdk.TracerProvider }

// startTracing starts to export traces if the configuration, or else the environment, names a collector. See [otlp.Start].
func startTracing(ctx context.Context, c config.Tracing, log *slog.Logger) (tracer, error) {
	endpoint, source := string(c.Endpoint), "tracing.endpoint"
	if endpoint == "" {
		endpoint, source = otlp.Endpoint(), "OTEL_EXPORTER_OTLP_ENDPOINT"
	}
	if endpoint == "" {
		return tracer{}, nil
	}
	o := otlp.Config{Endpoint: endpoint, Version: version(), Log: log}
	if c.Sample < 1 {
		o.Sampler = otlp.Ratio(c.Sample)
	}
	provider, err := otlp.Start(ctx, o)
	if err != nil {
		return tracer{}, fmt.Errorf("%s: %w", source, err)
	}
	return tracer{provider}, nil
}

func (t tracer) client() []client.Option {
	if t.provider == nil {
		return nil
	}
	return []client.Option{client.WithInterceptors(tracing.Client()), client.WithHooks(tracing.Hooks())}
}

func (t tracer) server() []server.Option {
	if t.provider == nil {
		return nil
	}
	return []server.Option{server.WithInterceptors(tracing.Server())}
}

// close exports what is left, within the flush timeout.
func (t tracer) close() {
	if t.provider != nil {
		closeWithin(flushTimeout, t.provider.Shutdown)
	}
}

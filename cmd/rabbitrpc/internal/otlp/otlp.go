// Package otlp exports the traces of this program to an OpenTelemetry collector, over HTTP.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Config says where traces go. What it does not say is as OpenTelemetry's standard variables have it, such as
// OTEL_EXPORTER_OTLP_HEADERS, which may hold a secret, and OTEL_SERVICE_NAME.
type Config struct {
	Endpoint string      // http or https, without v1/traces, which is added
	Sampler  sdk.Sampler // nil: what OTEL_TRACES_SAMPLER says, by default all
	Version  string      // of this program
	Log      *slog.Logger
}

// Endpoint returns the endpoint that the environment names, or "".
func Endpoint() string { return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") }

// Ratio samples that share of the traces that begin here, 0 to 1, and of all others those that their callers have sampled.
func Ratio(share float64) sdk.Sampler { return sdk.ParentBased(sdk.TraceIDRatioBased(share)) }

// Start makes a provider that exports in the background, and makes it the global one. No call waits for a collector: spans
// that do not fit into the queue are dropped, and what goes wrong is logged twice a minute at most. Shutdown exports what is
// there until its context ends.
func Start(ctx context.Context, c Config) (*sdk.TracerProvider, error) {
	endpoint, err := traces(c.Endpoint)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("rabbitrpc"), semconv.ServiceVersion(c.Version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // the last wins
	)
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	opts := []sdk.TracerProviderOption{sdk.WithBatcher(exporter), sdk.WithResource(about)}
	if c.Sampler != nil {
		opts = append(opts, sdk.WithSampler(c.Sampler))
	}
	provider := sdk.NewTracerProvider(opts...)
	otel.SetErrorHandler(&complaints{log: c.Log})
	otel.SetTracerProvider(provider)
	return provider, nil
}

// Check returns the error with which [Start] would refuse an endpoint.
func Check(endpoint string) error {
	_, err := traces(endpoint)
	return err
}

// traces returns the URL that takes traces. Its errors show no password.
func traces(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "", errors.New("endpoint for traces is not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("endpoint for traces must be a URL such as http://localhost:4318, got %q", u.Redacted())
	case u.User != nil:
		return "", errors.New("endpoint for traces must not have a password: OTEL_EXPORTER_OTLP_HEADERS may")
	}
	return u.JoinPath("v1/traces").String(), nil
}

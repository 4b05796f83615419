// Package tracing makes OpenTelemetry traces of calls, from the client over the broker to the server.
//
//	c, err := client.New(m, client.WithInterceptors(tracing.Client()), client.WithHooks(tracing.Hooks()))
//	s, err := server.New(m, "math", server.WithInterceptors(tracing.Server()))
//
// A call is one span of kind CLIENT, from entry to exit, with an event for each of its attempts: an attempt is no span of
// its own, since most calls have one, and that takes as long as the call. Each request that passes the checks of a server is
// a span of kind SERVER, a child of the call's: a call that was sent again may have several. The headers traceparent and
// tracestate carry the context, in W3C's format; nothing else is carried, baggage neither, unless [WithPropagator] says so.
//
// # Names
//
// Attributes follow the semantic conventions of OpenTelemetry 1.43.0, those of RPC and, for where a request goes, of
// messaging. The system is rabbitrpc, the method SERVICE/METHOD, which is the span's name too, and the status code one of
// [rpc.Code]. A span of a client has the status Error after each error; one of a server after those that are the server's:
// unknown, deadline_exceeded, unimplemented, internal, unavailable and data_loss. Attributes that begin with rabbitrpc. are
// this library's.
//
// # Trust
//
// A server takes the context that a request brings: a stranger may choose trace IDs, and ask for being sampled. The
// exporter has to be bounded, as that of the OpenTelemetry SDK is.
package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/rabbitrpc/rabbitrpc/telemetry/tracing"

// An Option changes a default of [Client] and [Server].
type Option func(*options)

type options struct {
	provider   trace.TracerProvider
	propagator propagation.TextMapPropagator
}

// WithTracerProvider sets where spans go. Default: the global provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.provider = p } }

// WithPropagator sets what is carried in the headers of a request, and how. Default: trace context alone.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(o *options) { o.propagator = p }
}

// apply returns the tracer and the propagator of options.
func apply(opts []Option) (trace.Tracer, propagation.TextMapPropagator) {
	o := options{provider: otel.GetTracerProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		opt(&o)
	}
	return o.provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)), o.propagator
}

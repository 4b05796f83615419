package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Client returns the interceptor of a client: a span for each call, and its context in the headers of the request. Where
// headers have no room left it is not carried: that must not fail the call. Headers of the same names that the caller gives
// to a call, with client.WithHeader, win.
func Client(opts ...Option) rpc.Interceptor {
	tracer, propagator := apply(opts)
	methods := &methods{kind: trace.SpanKindClient}
	return func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
			m := methods.of(r)
			ctx, span := tracer.Start(ctx, m.name, m.start...)
			defer span.End()
			reply, err := next(ctx, carrying(ctx, r, propagator))
			if span.IsRecording() {
				end(span, reply, err)
				if err != nil {
					span.SetStatus(codes.Error, valid(err.Error()))
				}
			}
			return reply, err
		}
	}
}

// carrying returns a request that carries the context, or r if there is none.
func carrying(ctx context.Context, r *rpc.Request, p propagation.TextMapPropagator) *rpc.Request {
	carrier := make(propagation.MapCarrier, len(r.Header)+2)
	p.Inject(ctx, carrier)
	if len(carrier) == 0 {
		return r
	}
	for name, value := range r.Header {
		if _, ours := carrier[name]; !ours { // else this call is in between
			carrier[name] = value
		}
	}
	if wire.CheckHeader(rpc.Header(carrier)) != nil {
		return r
	}
	with := *r
	with.Header = rpc.Header(carrier)
	return &with
}

// end sets what is known at the end of a call or a request.
func end(span trace.Span, reply *rpc.Reply, err error) {
	code := rpc.CodeOf(err).String()
	span.SetAttributes(semconv.RPCResponseStatusCode(code))
	if err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(code), executedKey.String(rpc.Executed(err).String()))
	} else if reply != nil && reply.Replayed {
		span.SetAttributes(replayedKey.Bool(true))
	}
}

// Hooks returns the hooks of a client whose interceptor is [Client]: the call's ID becomes an attribute of its span, and
// each attempt an event.
func Hooks() client.Hooks {
	return client.Hooks{
		CallEnded: func(ctx context.Context, e client.CallEnded) {
			if span := trace.SpanFromContext(ctx); span.IsRecording() {
				span.SetAttributes(conversation(e.Request), attemptsKey.Int(e.Attempts))
			}
		},
		AttemptEnded: func(ctx context.Context, e client.AttemptEnded) {
			if span := trace.SpanFromContext(ctx); span.IsRecording() {
				span.AddEvent("rabbitrpc.attempt", trace.WithAttributes(
					attemptKey.Int(e.Request.Attempt), modeKey.String(e.Mode), endingKey.String(e.Ending)))
			}
		},
	}
}

func conversation(r *rpc.Request) attribute.KeyValue {
	return semconv.MessagingMessageConversationID(valid(r.ID))
}

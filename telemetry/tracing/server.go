package tracing

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Server returns the interceptor of a server: a span for each request that has passed the checks, duplicates included, a
// child of the span that the request names. Make it the first, so that the others are inside.
func Server(opts ...Option) rpc.Interceptor {
	tracer, propagator := apply(opts)
	methods := &methods{kind: trace.SpanKindServer}
	return func(next rpc.Handler) rpc.Handler {
		return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
			ctx = propagator.Extract(ctx, propagation.MapCarrier(r.Header))
			m := methods.of(r)
			ctx, span := tracer.Start(ctx, m.name, m.start...)
			defer span.End()
			if span.IsRecording() {
				span.SetAttributes(conversation(r), attemptKey.Int(r.Attempt))
			}
			reply, err := next(ctx, r)
			if span.IsRecording() {
				end(span, reply, err)
				if code := rpc.CodeOf(err); ours(code) {
					span.SetStatus(codes.Error, valid(err.Error()))
				}
			}
			return reply, err
		}
	}
}

// ours reports whether a code says that the server has failed, and not its caller. The conventions of gRPC, whose codes
// these are, have the same list.
func ours(code rpc.Code) bool {
	switch code {
	case rpc.Unknown, rpc.DeadlineExceeded, rpc.Unimplemented, rpc.Internal, rpc.Unavailable, rpc.DataLoss:
		return true
	}
	return false
}

package tracing

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// LogHandler returns a handler that adds to each record of a call what finds the call elsewhere: its ID, as call, and its
// trace, as trace_id and span_id. It finds them in the context, so use slog's functions that take one. Where there is no
// span the trace is that which the request names: servers also log what happens before and after the interceptors.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, record slog.Record) error {
	span, request := trace.SpanContextFromContext(ctx), rpc.RequestOf(ctx)
	if request != nil && !span.IsValid() {
		span = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(request.Header)))
	}
	var attrs []slog.Attr
	if request != nil && request.ID != "" && !has(record, "call") {
		attrs = append(attrs, slog.String("call", request.ID))
	}
	if span.IsValid() {
		attrs = append(attrs, slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	if len(attrs) > 0 {
		record = record.Clone()
		record.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, record)
}

func has(record slog.Record, key string) (found bool) {
	record.Attrs(func(a slog.Attr) bool {
		found = found || a.Key == key
		return !found
	})
	return found
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }

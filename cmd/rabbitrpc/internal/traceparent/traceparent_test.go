package traceparent_test

import (
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/traceparent"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestOf(t *testing.T) {
	r := &rpc.Request{Header: rpc.Header{"traceparent": "00-1-2-01", "tracestate": "a=1"}}
	if parent, state := traceparent.Of(t.Context(), r); parent != "00-1-2-01" || state != "a=1" {
		t.Errorf("without a span: got %q, %q, want what the caller says", parent, state)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	if parent, state := traceparent.Of(ctx, r); parent != "00-01000000000000000000000000000000-0200000000000000-01" || state != "" {
		t.Errorf("in a span: got %q, %q, want the span", parent, state)
	}
	if parent, state := traceparent.Of(t.Context(), &rpc.Request{}); parent != "" || state != "" {
		t.Errorf("without a trace: got %q, %q", parent, state)
	}
}

// Package traceparent passes traces on to those who answer a call in another process.
package traceparent

import (
	"context"

	"go.opentelemetry.io/otel/propagation"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// The names of W3C Trace Context.
const (
	Parent = "traceparent"
	State  = "tracestate"
)

// Of returns the trace that a call belongs to: this process's part of it, if it makes traces, else what the caller says. It
// is empty if there is none.
func Of(ctx context.Context, r *rpc.Request) (parent, state string) {
	mine := make(propagation.MapCarrier)
	propagation.TraceContext{}.Inject(ctx, mine)
	if mine[Parent] != "" {
		return mine[Parent], mine[State]
	}
	return r.Header[Parent], r.Header[State]
}

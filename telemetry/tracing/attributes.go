package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/telemetry/internal/table"
)

// The attributes that are not of the conventions.
const (
	executedKey = attribute.Key("rabbitrpc.executed") // of an error: no, unknown or yes
	replayedKey = attribute.Key("rabbitrpc.replayed") // of a reply: it was stored before
	attemptsKey = attribute.Key("rabbitrpc.attempts") // of a call: how many were made
	attemptKey  = attribute.Key("rabbitrpc.attempt")  // of a request: which of them it is
	modeKey     = attribute.Key("rabbitrpc.mode")     // of an attempt: direct, queued, durable or plain
	endingKey   = attribute.Key("rabbitrpc.ending")   // of an attempt: what came of it
)

// A method is what is said of all spans of one.
type method struct {
	name  string
	start []trace.SpanStartOption
}

type key struct{ service, method string }

// maxMethods is of how many methods that is kept, from one call to the next; of others it is made each time.
const maxMethods = 1000

// methods is what is said of the spans of one kind.
type methods struct {
	kind  trace.SpanKind
	known table.Table[key, method]
}

func (m *methods) of(r *rpc.Request) *method {
	k := key{r.Service, r.Method}
	if known := m.known.Add(k, maxMethods, func() *method { return m.describe(k) }); known != nil {
		return known
	}
	return m.describe(k)
}

func (m *methods) describe(k key) *method {
	name := valid(k.service + "/" + k.method)
	return &method{name, []trace.SpanStartOption{trace.WithSpanKind(m.kind), trace.WithAttributes(
		semconv.RPCSystemNameKey.String("rabbitrpc"),
		semconv.RPCMethod(name),
		semconv.MessagingSystemRabbitMQ,
		semconv.MessagingDestinationName(valid(wire.Exchange(k.service))),
	)}}
}

// valid returns s as it can be exported: one string that is not UTF-8 would cost all spans that are exported with it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

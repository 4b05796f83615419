package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
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

var system = semconv.RPCSystemNameKey.String("rabbitrpc")

// about returns what a call and its requests have in common.
func about(service, method string) []attribute.KeyValue {
	return []attribute.KeyValue{
		system,
		semconv.RPCMethod(method),
		semconv.MessagingSystemRabbitMQ,
		semconv.MessagingDestinationName(wire.Exchange),
		semconv.MessagingRabbitMQDestinationRoutingKey(wire.Key(service)),
	}
}

// name returns what a method is called in full, which is the name of its spans.
func name(r *rpc.Request) string { return valid(r.Service + "/" + r.Method) }

// valid returns s as it can be exported: one string that is not UTF-8 would cost all spans that are exported with it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

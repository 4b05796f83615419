// Package wire turns calls into messages and back: the names, properties and headers of protocol version 1, which
// docs/protocol.md describes in full. It checks the bounds of all that comes from the other side, before anything is
// done with it. Golden files in testdata hold the encoding.
package wire

import (
	"fmt"
	"strings"
)

// Version is the current protocol version.
const Version = 1

// Exchange is where requests are published: a topic exchange, so that RabbitMQ's topic permissions can say who may call
// which service.
const Exchange = "rabbitrpc"

const (
	headerVersion    = "rpc-version"
	headerTimeout    = "rpc-timeout-ms"
	headerAttempt    = "rpc-attempt"
	headerClient     = "rpc-client"
	headerOnce       = "rpc-at-most-once"
	headerCode       = "rpc-code"
	headerMessage    = "rpc-message"
	headerDetails    = "rpc-details"
	headerExecuted   = "rpc-executed"
	headerRetryAfter = "rpc-retry-after-ms"
	headerReplayed   = "rpc-replayed"
	headerServer     = "rpc-server"

	headerCC = "CC" // RabbitMQ: further routing keys

	headerDeathReason = "x-first-death-reason" // RabbitMQ: why a message was dead-lettered first
)

const prefix = "rabbitrpc."

// Queue is the name of the queue that holds the requests to a service.
func Queue(service string) string { return prefix + service }

// Key is the routing key of the requests to a service. It never equals the name of a queue: a dead letter, which is
// routed by this key and the reply queue's name through the default exchange, must reach the caller alone.
func Key(service string) string { return "call." + service }

// Denies reports whether a refusal of the broker, by its text, is one to publish requests to a service.
func Denies(service, refusal string) bool {
	if strings.Contains(refusal, "topic '") {
		return strings.Contains(refusal, "topic '"+Key(service)+"'")
	}
	return strings.Contains(refusal, "exchange '"+Exchange+"'")
}

const maxName = 100 // with prefix and suffix well inside the 255 bytes of an AMQP short string

// CheckService reports whether name can name a service: 1 to 100 letters, digits, '-' and '_'. A dot could make the name
// of one service's queue that of another's parked queue, and '*' and '#' are wildcards.
func CheckService(name string) error { return checkName("service", name, "-_") }

// CheckMethod reports whether name can name a method: 1 to 100 letters, digits, '-', '_', '.' and '/'.
func CheckMethod(name string) error { return checkName("method", name, "-_./") }

func checkName(what, name, also string) error {
	if name == "" {
		return fmt.Errorf("%s name is empty", what)
	}
	if len(name) > maxName {
		return fmt.Errorf("%s name has %d bytes, at most %d are allowed", what, len(name), maxName)
	}
	for _, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && !strings.ContainsRune(also, r) {
			return fmt.Errorf("%s name %q has %q; letters, digits and any of %q are allowed", what, name, r, also)
		}
	}
	return nil
}

// Package wire turns calls into messages and back: the names, properties and headers of protocol version 1, which
// docs/protocol.md describes in full. It checks the bounds of all that comes from the other side, before anything is
// done with it. Golden files in testdata hold the encoding.
package wire

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Version is the current protocol version.
const Version = 1

// DiscoveryExchange is where questions to instances are published: a topic exchange, so that RabbitMQ's topic permissions can
// say who may ask about which service.
const DiscoveryExchange = "rabbitrpc"

const (
	headerVersion    = "rpc-version"
	headerTimeout    = "rpc-timeout-ms"
	headerAttempt    = "rpc-attempt"
	headerOnce       = "rpc-at-most-once"
	headerGather     = "rpc-gather-ms"
	headerCode       = "rpc-code"
	headerMessage    = "rpc-message"
	headerDetails    = "rpc-details"
	headerExecuted   = "rpc-executed"
	headerRetryAfter = "rpc-retry-after-ms"
	headerReplayed   = "rpc-replayed"

	headerCC = "CC" // RabbitMQ: further routing keys

	headerDeathReason = "x-first-death-reason" // RabbitMQ: why a message was dead-lettered first
	headerDeath       = "x-death"              // RabbitMQ: by which queues a message was dead-lettered
)

const prefix = "rabbitrpc."

// Queue is the name of the queue that holds the requests to a service.
func Queue(service string) string { return prefix + service }

// Exchange is the name of the exchange where the requests to a service are published. All that is published there goes into
// the service's queue. The routing key is the caller's reply queue: what becomes of a dead letter, which is routed by it
// through the default exchange.
func Exchange(service string) string { return prefix + service }

// Denies reports whether the broker, by the text of its error, takes no requests to a service from this user, or has no
// exchange for them.
func Denies(service, text string) bool {
	return strings.Contains(text, "exchange '"+Exchange(service)+"'")
}

var tooLarge = regexp.MustCompile(`message size \d+ is larger than configured max size (\d+)`)

// LargestMessage returns how many bytes the body of a message may have, as far as the text of an error of the broker tells.
func LargestMessage(text string) (most int, ok bool) {
	m := tooLarge.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	most, err := strconv.Atoi(m[1])
	return most, err == nil
}

// RefusedFor returns why the broker takes no request like r, by the text of its error to one, or OK if it is not for that.
func RefusedFor(r *rpc.Request, text string) rpc.Code {
	if most, ok := LargestMessage(text); ok && len(r.Body) > most {
		return rpc.InvalidArgument
	}
	if RefusesUser(text, r.User) {
		return rpc.PermissionDenied
	}
	return rpc.OK
}

// RefusesUser reports whether the text of an error of the broker says that messages may not be in the name of user.
func RefusesUser(text, user string) bool {
	return user != "" && strings.Contains(text, "user_id property set to '"+user+"' but")
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

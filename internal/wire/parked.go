package wire

import (
	"maps"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// ParkedQueue is the name of the queue for the requests to a service that its servers will not run again. A service's name
// has no dot: it is no other service's queue.
func ParkedQueue(service string) string { return prefix + service + ".parked" }

const (
	headerParkedReason   = "rpc-parked-reason"
	headerParkedAttempts = "rpc-parked-attempts"
	headerParkedAt       = "rpc-parked-at"
	headerParkedBy       = "rpc-parked-by"
	headerParkedUser     = "rpc-parked-user"
)

// Parking says why a request was parked.
type Parking struct {
	Reason   string
	Attempts int       // how often it was started
	At       time.Time // when it was parked, by the server's clock
	Server   string    // that parked it
	User     string    // who has sent the request, if the broker has checked that
}

// EncodeParked makes the message that keeps a request which is not to be run again. It is addressed to nobody but the
// parked queue, and keeps what is needed to run the request after all. Whatever the request is, it can be sent.
func EncodeParked(m *conn.Message, service string, p Parking) *conn.Message {
	out := Reparked(m, service)
	maps.DeleteFunc(out.Headers, parking) // a caller's own
	out.Headers[headerParkedReason] = p.Reason
	out.Headers[headerParkedAttempts] = int64(p.Attempts)
	out.Headers[headerParkedAt] = p.At
	out.Headers[headerParkedBy] = p.Server
	if p.User != "" {
		out.Headers[headerParkedUser] = p.User // the property would have to be that of who publishes this
	}
	if out.Validate() != nil { // it came with more headers than we can send
		maps.DeleteFunc(out.Headers, optional)
	}
	return out
}

// parking tells the headers that say why a request was parked.
func parking(name string, _ any) bool { return strings.HasPrefix(name, "rpc-parked-") }

// optional tells the headers without which a request can still be run, and told from others.
func optional(name string, value any) bool {
	switch name {
	case headerVersion, headerTimeout, headerAttempt, headerOnce:
		return headerSize(value) > 8+maxClient // it means nothing
	}
	return !parking(name, value)
}

// Reparked makes a parked message once more, for the end of the same queue.
func Reparked(m *conn.Message, service string) *conn.Message {
	headers := make(map[string]any, len(m.Headers)+5)
	for name, value := range m.Headers {
		if n, ok := integer(value); ok {
			value = n // of the one width that can be sent
		}
		switch value.(type) {
		case string, bool, int64, float64, []byte, time.Time:
			if !reserved(name) || strings.HasPrefix(name, "rpc-") {
				headers[name] = value
			}
		}
	}
	if died(m) { // which the copy does not say: it must not pass for a server's
		maps.DeleteFunc(headers, parking)
	}
	return &conn.Message{
		Key: ParkedQueue(service), Mandatory: true, Persistent: true,
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo,
		MessageID: m.MessageID, Type: m.Type, AppID: m.AppID, Priority: m.Priority, Timestamp: m.Timestamp,
		Headers: headers, Body: m.Body,
	}
}

// DecodeParked reads why a request was parked. It is false for a message that no server has parked, such as the dead letter of
// another queue: servers publish what they park.
func DecodeParked(m *conn.Message) (Parking, bool) {
	reason, ok := m.Headers[headerParkedReason].(string)
	if !ok || died(m) {
		return Parking{}, false
	}
	attempts, _ := integer(m.Headers[headerParkedAttempts])
	at, _ := m.Headers[headerParkedAt].(time.Time)
	server, _ := m.Headers[headerParkedBy].(string)
	user, _ := m.Headers[headerParkedUser].(string)
	return Parking{Reason: reason, Attempts: int(attempts), At: at, Server: server, User: user}, true
}

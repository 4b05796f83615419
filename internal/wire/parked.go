package wire

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

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

// headerParkedCall tells a handler that the request was parked, and the ID of the call then.
const headerParkedCall = "parked-call"

// unparker is the client of requests that were parked.
const unparker = "rabbitrpc parked"

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
	case headerVersion, headerTimeout, headerAttempt, headerClient, headerOnce:
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
	return &conn.Message{
		Key: ParkedQueue(service), Mandatory: true, Persistent: true,
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, CorrelationID: m.CorrelationID, ReplyTo: m.ReplyTo,
		MessageID: m.MessageID, Type: m.Type, AppID: m.AppID, Priority: m.Priority, Timestamp: m.Timestamp,
		Headers: headers, Body: m.Body,
	}
}

// DecodeParked reads why a request was parked. It is false for a message that no server has parked.
func DecodeParked(m *conn.Message) (Parking, bool) {
	reason, ok := m.Headers[headerParkedReason].(string)
	if !ok {
		return Parking{}, false
	}
	attempts, _ := integer(m.Headers[headerParkedAttempts])
	at, _ := m.Headers[headerParkedAt].(time.Time)
	server, _ := m.Headers[headerParkedBy].(string)
	user, _ := m.Headers[headerParkedUser].(string)
	return Parking{Reason: reason, Attempts: int(attempts), At: at, Server: server, User: user}, true
}

var (
	errNotParked = errors.New("no server has put it there")
	errNoMethod  = errors.New("it names no method") // it came from a plain queue
)

// EncodeUnparked makes a parked request one to its service again, that waits there until somebody serves it. Its error says
// why that cannot be: no server would run it.
//
// It has a new call ID, since the old one has an outcome: given up. The same call has the same new one each time, so that
// servers know a duplicate of it.
func EncodeUnparked(m *conn.Message, service string) (*conn.Message, error) {
	p, ok := DecodeParked(m)
	if !ok {
		return nil, errNotParked
	}
	if m.Type == "" {
		return nil, errNoMethod
	}
	out := Reparked(m, service)
	out.Exchange, out.Key = Exchange, Key(service)
	out.CorrelationID = unparkedID(m, service, p)
	if _, said := m.Headers[headerVersion]; !said {
		fromPlain(out)
	}
	if KindOfReplyTo(m.ReplyTo) != ReplyServer {
		out.ReplyTo = noReply
	}
	maps.DeleteFunc(out.Headers, parking)
	delete(out.Headers, headerAttempt)
	if ms, _ := integer(m.Headers[headerTimeout]); ms < leastTimeout.Milliseconds() {
		delete(out.Headers, headerTimeout) // it was what the caller had left; the server has a default
	}
	if _, said := m.Headers[headerParkedCall].(string); !said || ClientOf(m) != unparker {
		// else it was parked again: the first call is the one that somebody knows
		out.Headers[headerParkedCall] = m.CorrelationID
	}
	out.Headers[headerClient] = unparker
	return out, nil
}

const (
	leastTimeout = 30 * time.Second // for a request that is run again

	// noReply is an address that may be answered, or the server would drop the request, and that nobody has.
	noReply = "amq.gen-rabbitrpc-parked"
)

// fromPlain makes a request that came from a plain queue, where less has to be said, what it would have been for a service.
func fromPlain(m *conn.Message) {
	m.Headers[headerVersion] = int64(Version)
	if m.ContentType == "" || m.ContentType == "application/octet-stream" {
		m.ContentType = "text/plain"
	}
	if isText(m.ContentEncoding) {
		m.ContentEncoding = ""
	}
}

// unparkedID derives the new ID of a call from all that names it. Who does not know the old one cannot guess it.
func unparkedID(m *conn.Message, service string, p Parking) string {
	if m.CorrelationID == "" {
		return uuid.NewString() // nothing tells it from another
	}
	name := fmt.Sprintf("%q %x", []string{
		p.User, ClientOf(m), service, m.Type, m.CorrelationID, m.ContentType, m.ContentEncoding,
	}, sha256.Sum256(m.Body))
	return uuid.NewHash(sha256.New(), uuid.Nil, []byte(name), 8).String()
}

// ClientOf tells who has made a call, as far as its request says that.
func ClientOf(m *conn.Message) string {
	if client, ok := m.Headers[headerClient].(string); ok {
		return client
	}
	return m.ReplyTo
}

// ParkedBody is the body of a parked request, decompressed.
func ParkedBody(m *conn.Message) ([]byte, error) {
	limits := DefaultLimits
	limits.Body = max(limits.Body, len(m.Body))
	return decompress(m.ContentEncoding, m.Body, limits)
}

// DeliveryCount is how often a request was delivered before without an end, as far as its queue counts that: quorum
// queues do.
func DeliveryCount(m *conn.Message) int {
	n, _ := integer(m.Headers["x-delivery-count"])
	return int(max(0, n))
}

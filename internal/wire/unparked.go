package wire

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// headerParkedCall tells a handler that the request was parked, and the ID of the call then.
const headerParkedCall = "parked-call"

// unparker is the client of requests that were parked.
const unparker = "rabbitrpc parked"

// What [EncodeUnparked] cannot make a request of.
var (
	ErrNotParked = errors.New("no server has put it there")
	ErrNoMethod  = errors.New("it names no method") // it came from a plain queue
)

// EncodeUnparked makes a parked request one to its service again, that waits there until somebody serves it. Its error says
// why that cannot be: no server would run it.
//
// It has a new call ID, since the old one has an outcome: given up. The same call has the same new one each time, so that
// servers know a duplicate of it.
func EncodeUnparked(m *conn.Message, service string) (*conn.Message, error) {
	p, ok := DecodeParked(m)
	if !ok {
		return nil, ErrNotParked
	}
	if m.Type == "" {
		return nil, ErrNoMethod
	}
	out := Reparked(m, service)
	out.Exchange = Exchange(service)
	out.CorrelationID = unparkedID(m, service, p)
	if _, said := m.Headers[headerVersion]; !said {
		fromPlain(out)
	}
	if KindOfReplyTo(m.ReplyTo) != ReplyServer {
		out.ReplyTo = noReply
	}
	out.Key = out.ReplyTo
	maps.DeleteFunc(out.Headers, parking)
	delete(out.Headers, headerAttempt)
	if ms, _ := integer(m.Headers[headerTimeout]); ms < leastTimeout.Milliseconds() {
		delete(out.Headers, headerTimeout) // it was what the caller had left; the server has a default
	}
	if _, said := m.Headers[headerParkedCall].(string); !said || ClientOf(m) != unparker {
		// else it was parked again: the first call is the one that somebody knows
		out.Headers[headerParkedCall] = m.CorrelationID
	}
	out.AppID = unparker
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

// ClientOf tells who has made a call. Who does not say so has its reply queue for a name, as long as it lives. So have those who
// know nothing of this protocol: they may give all of their processes the same app id, and two calls the same ID.
func ClientOf(m *conn.Message) string {
	if _, knows := m.Headers[headerVersion]; knows && m.AppID != "" {
		return m.AppID
	}
	return m.ReplyTo
}

// ParkedBody is the body of a parked request, decompressed.
func ParkedBody(m *conn.Message) ([]byte, error) {
	limits := DefaultLimits
	limits.Body = max(limits.Body, len(m.Body))
	return decompress(m.ContentEncoding, m.Body, limits)
}

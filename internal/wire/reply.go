package wire

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	maxMessage = 1 << 10 // bytes of rpc-message
	maxDetails = 8 << 10 // bytes of rpc-details
)

// EncodeReply makes the message that answers c.
func EncodeReply(c *Call, r *rpc.Reply) *conn.Message {
	m := new(conn.Message)
	PutReply(m, c, r)
	return m
}

// PutReply is [EncodeReply] into m.
func PutReply(m *conn.Message, c *Call, r *rpc.Reply) {
	*m = answer(c, r.Server)
	m.ContentType = r.ContentType
	m.Body = r.Body
	if r.Replayed {
		addHeaders(m)[headerReplayed] = true
	}
}

// EncodeError makes the message that answers c with an error. The body is the error's message, for peers that cannot read
// headers. A message that is too long is cut; details that are too long are left out.
func EncodeError(c *Call, e *rpc.Error, server string) *conn.Message {
	text := cut(strings.ToValidUTF8(e.Message, "�"), maxMessage)
	m := answer(c, server)
	m.ContentType = "text/plain"
	m.Body = []byte(text)
	headers := addHeaders(&m)
	headers[headerCode] = e.Code.String()
	headers[headerMessage] = text
	headers[headerExecuted] = e.Executed.String()
	if n := len(e.Details); n > 0 && n <= maxDetails && json.Valid(e.Details) {
		headers[headerDetails] = string(e.Details)
	}
	if e.RetryAfter > 0 {
		headers[headerRetryAfter] = max(1, min(e.RetryAfter, DefaultLimits.Timeout).Milliseconds())
	}
	return &m
}

// running is the type of a message that says that a server has a request.
const running = "rpc.running"

// EncodeRunning makes the message that says to the caller that c is not answered yet, and not lost.
func EncodeRunning(c *Call, server string) *conn.Message {
	m := answer(c, server)
	m.Type = running
	return &m
}

// SaysRunning reports whether a message in a reply queue is one of [EncodeRunning]. [AttemptOf] tells which attempt it is about.
func SaysRunning(m *conn.Message) bool { return m.Type == running }

func answer(c *Call, server string) conn.Message {
	m := conn.Message{
		Key:           c.ReplyTo,
		Mandatory:     true,
		Persistent:    c.Persistent,
		CorrelationID: c.ID,
		AppID:         server,
	}
	if c.Attempt > 1 || c.Plain {
		m.Headers = map[string]any{headerAttempt: int64(c.Attempt)}
	}
	return m
}

// addHeaders returns the headers of m, to be added to: most answers have none.
func addHeaders(m *conn.Message) map[string]any {
	if m.Headers == nil {
		m.Headers = make(map[string]any, 5)
	}
	return m.Headers
}

// cut shortens s to at most n bytes without breaking a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Refuses reports whether an answer says no to an attempt without having executed the call: it speaks for that attempt
// alone, see [AttemptOf].
func Refuses(m *conn.Message) bool {
	_, failed := m.Headers[headerCode]
	return failed && m.Headers[headerExecuted] != rpc.ExecutedYes.String()
}

// DecodeReply reads the answer to a call: a reply, or the *rpc.Error that the server sent.
func DecodeReply(m *conn.Message) (*rpc.Reply, error) {
	replayed, _ := m.Headers[headerReplayed].(bool)
	code, failed := m.Headers[headerCode]
	if !failed {
		return &rpc.Reply{ContentType: m.ContentType, Body: m.Body, Server: m.AppID, Replayed: replayed}, nil
	}
	e := &rpc.Error{Code: rpc.Unknown, Remote: true}
	name, _ := code.(string)
	if code, ok := rpc.ParseCode(name); ok && code != rpc.OK {
		e.Code = code
	}
	message, _ := m.Headers[headerMessage].(string)
	e.Message = cut(message, maxMessage)
	if executed, ok := m.Headers[headerExecuted].(string); ok {
		e.Executed, _ = rpc.ParseExecution(executed)
	}
	if details, ok := m.Headers[headerDetails].(string); ok && len(details) <= maxDetails && json.Valid([]byte(details)) {
		e.Details = json.RawMessage(details)
	}
	if ms, ok := integer(m.Headers[headerRetryAfter]); ok && ms > 0 && ms <= DefaultLimits.Timeout.Milliseconds() {
		e.RetryAfter = time.Duration(ms) * time.Millisecond
	}
	return nil, e
}

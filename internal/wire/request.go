package wire

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A Mode is how an attempt is published.
type Mode uint8

// The modes of an attempt.
const (
	Direct  Mode = iota // to a server that has room now, or back to the caller at once
	Queued              // waits in the service's queue until the deadline
	Durable             // the same, written to disk
	Plain               // to a queue that others own, by its name, as in RabbitMQ's tutorial 6
)

// Ping is the method by which a caller asks whether somebody serves a service. Servers answer it themselves.
const Ping = "rpc.ping"

// String returns the mode in lower case.
func (m Mode) String() string { return [...]string{"direct", "queued", "durable", "plain"}[m] }

// An Attempt is what an attempt of a call adds to its request.
type Attempt struct {
	Mode     Mode
	Queue    string        // Plain: where to
	Exchange string        // else: that of the service, if it is at hand
	ReplyTo  string        // the caller's reply queue
	Timeout  time.Duration // time left until the deadline
	Patience time.Duration // Queued: time that it may wait in the queue; 0 for the timeout
	Once     bool          // it must not be executed again if it is delivered again
	Priority uint8
	Gather   time.Duration // it is one of so many that the answer may wait for others, so long at each step, up to [MaxGather]; 0: it is not
	Share    bool          // headers with other requests: nobody changes those of this one
}

// EncodeRequest makes the message of an attempt. The request has been checked with [CheckRequest].
func EncodeRequest(r *rpc.Request, a Attempt) *conn.Message {
	timeout := max(1, a.Timeout.Milliseconds())
	m := &conn.Message{
		Exchange:      a.Exchange,
		Key:           a.ReplyTo,
		Mandatory:     true,
		ContentType:   r.ContentType,
		CorrelationID: r.ID,
		ReplyTo:       a.ReplyTo,
		Type:          r.Method,
		UserID:        r.User,
		AppID:         r.Client,
		Priority:      a.Priority,
		Headers:       requestHeaders(r, &a, timeout),
		Body:          r.Body,
	}
	if m.Exchange == "" {
		m.Exchange = Exchange(r.Service)
	}
	patience := timeout
	if a.Mode == Plain {
		m.Exchange, m.Key = "", a.Queue
	} else {
		m.Persistent = a.Mode == Durable
		if a.Patience > 0 && a.Mode != Direct {
			patience = max(1, a.Patience.Milliseconds())
		}
	}
	if m.Expiration = "0"; a.Mode != Direct {
		m.Expiration = strconv.FormatInt(patience, 10)
	}
	return m
}

// usual are the headers of a request that has none but the necessary ones, as they were last made, and usualGathered those of one
// whose answer may wait.
// Most calls have the same timeout.
var usual, usualGathered atomic.Pointer[map[string]any]

func requestHeaders(r *rpc.Request, a *Attempt, timeout int64) map[string]any {
	again := r.Attempt > 1 || a.Mode == Plain // there an answer that names none may be to any
	least := a.Share && !again && !a.Once && len(r.Header) == 0
	last := &usual
	if a.Gather > 0 {
		last = &usualGathered
	}
	if least {
		if h := last.Load(); h != nil && (*h)[headerTimeout] == timeout && (a.Gather == 0 || (*h)[headerGather] == a.Gather.Milliseconds()) {
			return *h
		}
	}
	headers := make(map[string]any, 2+len(r.Header))
	for name, value := range r.Header {
		headers[name] = value
	}
	headers[headerVersion] = int64(Version)
	headers[headerTimeout] = timeout
	if again {
		headers[headerAttempt] = int64(r.Attempt)
	}
	if a.Once {
		headers[headerOnce] = true
	}
	if a.Gather > 0 {
		headers[headerGather] = a.Gather.Milliseconds()
	}
	if least {
		last.Store(&headers)
	}
	return headers
}

// MaxGather is the longest that answers wait for each other: with longer waits fewer calls are made.
const MaxGather = 4 * time.Millisecond

// Gather is how long the answer to a request may wait for others, at each step. It is 0 unless its caller has many under way.
func Gather(m *conn.Message) time.Duration {
	ms, _ := integer(m.Headers[headerGather])
	if ms < 1 || ms > MaxGather.Milliseconds() {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// A Bounce is a request that came back to its caller as a dead letter.
type Bounce struct {
	ID      string
	Attempt int
	Reason  string // expired, rejected, maxlen or delivery_limit
}

// DecodeBounce reports whether a message from the reply queue is a request that came back.
func DecodeBounce(m *conn.Message) (Bounce, bool) {
	reason, ok := m.Headers[headerDeathReason].(string)
	if !ok {
		return Bounce{}, false
	}
	return Bounce{ID: m.CorrelationID, Attempt: AttemptOf(m), Reason: reason}, true
}

// AttemptOf tells which attempt of its call a message belongs to, a request that came back or an answer. The first does not
// say so.
func AttemptOf(m *conn.Message) int {
	if attempt, said := saidAttempt(m); said {
		return attempt
	}
	return 1
}

// AttemptOfAny is AttemptOf for what servers answer that need not know this protocol: 0 if they do not say.
func AttemptOfAny(m *conn.Message) int {
	attempt, _ := saidAttempt(m)
	return attempt
}

func saidAttempt(m *conn.Message) (attempt int, said bool) {
	n, said := integer(m.Headers[headerAttempt])
	return int(n), said
}

// integer reads a header that is a whole number, of any width: not all peers can choose one.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case int32:
		return int64(n), true
	case int16:
		return int64(n), true
	case int8:
		return int64(n), true
	case uint32:
		return int64(n), true
	case uint16:
		return int64(n), true
	case uint8:
		return int64(n), true
	case int:
		return int64(n), true
	}
	return 0, false
}

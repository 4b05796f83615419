package wire

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Limits bound what a request may ask of a server.
type Limits struct {
	Body        int           // bytes of a body, as it arrives and decompressed
	Ratio       int           // times that a compressed body may grow
	JSONDepth   int           // arrays and objects inside of each other in a body that is JSON
	Headers     int           // number of headers, RabbitMQ's own included
	HeaderBytes int           // bytes of all header names and values, and 8 for each
	Timeout     time.Duration // longest timeout of a call
}

// DefaultLimits are the limits that hold where none are set.
var DefaultLimits = Limits{
	Body: 4 << 20, Ratio: 100, JSONDepth: 128, Headers: 64, HeaderBytes: 16 << 10, Timeout: 24 * time.Hour,
}

// A Source is the queue that a request came from, and what holds there.
type Source struct {
	Service string
	Plain   bool          // a queue for callers that know nothing of this protocol
	Method  string        // Plain: the method of messages that name none
	Timeout time.Duration // the timeout of requests that have none
	Limits  Limits
}

// A Call is a request as it came in, with what an answer needs.
type Call struct {
	rpc.Request
	ReplyTo    string
	Timeout    time.Duration
	Persistent bool
	Plain      bool // it came from a plain queue
	Waits      bool // its caller wants to hear that it runs, see [EncodeRunning]
}

// ErrNoReply means that a request names no queue that could take an answer: it can only be dropped.
var ErrNoReply = errors.New("request has no reply-to that may be answered")

// DecodeRequest reads a request and checks its bounds. The call is never nil: with an *rpc.Error it holds what an error
// reply needs. Any other error is [ErrNoReply]. Of what the peer sent only header names, and the method, quoted, are in an
// error.
func DecodeRequest(m *conn.Message, src Source) (*Call, error) {
	c := new(Call)
	return c, c.Decode(m, src)
}

// Decode is [DecodeRequest] into c.
func (c *Call) Decode(m *conn.Message, src Source) error {
	*c = Call{
		Request: rpc.Request{
			Service:     src.Service,
			Method:      m.Type,
			ContentType: m.ContentType,
			ID:          m.CorrelationID,
			User:        m.UserID,
			Body:        m.Body,
			Attempt:     1,
		},
		ReplyTo:    m.ReplyTo,
		Timeout:    src.Timeout,
		Persistent: m.Persistent,
		Plain:      src.Plain,
		Waits:      !m.Persistent && !src.Plain && KindOfReplyTo(m.ReplyTo) == ReplyServer,
	}
	if n, _ := saidAttempt(m); 1 <= n && n <= maxAttempt { // before all checks: who fails one is to know which attempt it was
		c.Attempt = n
	}
	if !answerable(m.ReplyTo, src) {
		return ErrNoReply
	}
	for _, check := range [...]func(*Call, *conn.Message, Source) error{
		checkOrigin, checkSize, readVersion, readIdentity, readTimeout, readContent, readHeaders, readBody, // the dearest last
	} {
		if err := check(c, m, src); err != nil {
			return err
		}
	}
	return nil
}

func invalid(format string, args ...any) error { return refused(rpc.InvalidArgument, format, args...) }

func refused(code rpc.Code, format string, args ...any) error {
	return rpc.Errorf(code, format, args...).WithExecuted(rpc.ExecutedNo)
}

// checkOrigin refuses what another queue has given up. Where its dead letters go the sender of a message says, by its routing key,
// and nobody asks whether he may write there: the queue of a service that he may not call would do.
func checkOrigin(_ *Call, m *conn.Message, src Source) error {
	if m.Exchange == "" && died(m) && !src.Plain {
		return refused(rpc.PermissionDenied, "request is a dead letter of another queue")
	}
	return nil
}

// died reports whether a message is a dead letter. The broker says so whatever was in its headers.
func died(m *conn.Message) bool {
	_, said := m.Headers[headerDeath]
	return said
}

func checkSize(_ *Call, m *conn.Message, src Source) error {
	if len(m.Body) > src.Limits.Body {
		return invalid("request body has more than %d bytes", src.Limits.Body)
	}
	if len(m.Headers) > src.Limits.Headers {
		return invalid("request has %d headers, at most %d are allowed", len(m.Headers), src.Limits.Headers)
	}
	size := 0
	for name, value := range m.Headers {
		size += len(name) + headerSize(value)
	}
	if size > src.Limits.HeaderBytes {
		return invalid("request headers have %d bytes, at most %d are allowed", size, src.Limits.HeaderBytes)
	}
	return nil
}

// headerSize is what the value of a header counts for. How deep lists and tables are nested is bounded by AMQP libraries.
func headerSize(value any) int {
	size := 8
	switch v := value.(type) {
	case string:
		size += len(v)
	case []byte:
		size += len(v)
	case []any:
		for _, e := range v {
			size += headerSize(e)
		}
	case map[string]any:
		for name, e := range v {
			size += len(name) + headerSize(e)
		}
	}
	return size
}

func readVersion(_ *Call, m *conn.Message, src Source) error {
	v, said := m.Headers[headerVersion]
	if !said && src.Plain {
		return nil
	}
	if n, ok := integer(v); !ok || n != Version {
		return refused(rpc.Unimplemented, "header %s must be %d, the only protocol version that this server speaks", headerVersion, Version)
	}
	return nil
}

func readIdentity(c *Call, m *conn.Message, src Source) error {
	if c.ID == "" && !src.Plain {
		return invalid("request has no correlation id")
	}
	if c.Method == "" && src.Plain {
		c.Method = src.Method
	}
	if err := CheckMethod(c.Method); err != nil {
		return invalid("%v", err)
	}
	c.Client = ClientOf(m)
	c.AtMostOnce, _ = m.Headers[headerOnce].(bool)
	if v, said := m.Headers[headerAttempt]; said {
		if n, ok := integer(v); !ok || n < 1 || n > maxAttempt {
			return invalid("header %s must be 1 to %d", headerAttempt, int64(maxAttempt))
		}
	}
	return nil
}

const (
	maxClient  = 255
	maxAttempt = 1 << 30
)

// readTimeout takes the time that the caller allows. It is relative, since two hosts' clocks may differ; the time that
// the request spent in the queue is bounded by its expiration.
func readTimeout(c *Call, m *conn.Message, src Source) error {
	v, said := m.Headers[headerTimeout]
	switch {
	case said:
		ms, ok := integer(v)
		if !ok || ms < 1 || ms > src.Limits.Timeout.Milliseconds() {
			return invalid("header %s must be 1 to %d milliseconds", headerTimeout, src.Limits.Timeout.Milliseconds())
		}
		c.Timeout = time.Duration(ms) * time.Millisecond
	case m.Expiration != "": // of a caller that knows nothing of this protocol
		ms, err := strconv.ParseInt(m.Expiration, 10, 64)
		if err == nil && ms > 0 && ms <= src.Limits.Timeout.Milliseconds() {
			c.Timeout = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}

func readContent(c *Call, m *conn.Message, src Source) error {
	if e := m.ContentEncoding; !supported(e) && !(src.Plain && isText(e)) {
		return refused(rpc.Unimplemented, "content encoding is not supported: %s", encodingNames)
	}
	switch {
	case src.Plain && (c.ContentType == "" || c.ContentType == "application/octet-stream"):
		c.ContentType = "text/plain" // the tutorial's peers send digits under either name, or none
	case c.ContentType == "":
		c.ContentType = "application/json"
	}
	codec, err := rpc.CodecFor(c.ContentType)
	if err != nil {
		return refused(rpc.CodeOf(err), "content type is not supported")
	}
	if own := codec.ContentType(); c.ContentType == own {
		c.ContentType = own // a store that keeps it keeps nothing else of the message
	}
	return nil
}

// isText tells the name of a character set, which some clients put where an encoding such as gzip belongs.
func isText(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "utf-8", "utf8", "us-ascii":
		return true
	}
	return false
}

func readHeaders(c *Call, m *conn.Message, _ Source) error {
	for name, value := range m.Headers {
		if reserved(name) {
			continue
		}
		text, ok := value.(string)
		if !ok {
			continue // of no use to a handler, and no harm
		}
		if c.Header == nil {
			c.Header = make(rpc.Header)
		}
		c.Header[name] = text
	}
	return nil
}

// readBody undoes the content encoding: what handlers and stores see does not depend on it. Then it bounds the depth of
// JSON, for each handler and not only for those that decode it here: what recurses over a body, in this process or behind
// it, trusts that somebody has. Whether it is JSON at all is for who decodes it to say.
func readBody(c *Call, m *conn.Message, src Source) (err error) {
	if c.Body, err = decompress(m.ContentEncoding, m.Body, src.Limits); err != nil {
		return err
	}
	codec, err := rpc.CodecFor(c.ContentType)
	if err != nil {
		return err
	}
	if codec.ContentType() == rpc.ContentTypeJSON && deeper(c.Body, src.Limits.JSONDepth) {
		return invalid("JSON is nested deeper than %d", src.Limits.JSONDepth)
	}
	return nil
}

// reserved tells the headers that are not the user's: the protocol's and the broker's.
func reserved(name string) bool {
	return strings.HasPrefix(name, "rpc-") || strings.HasPrefix(name, "x-") || name == headerCC || name == "BCC"
}

// CheckRequest checks what a caller is about to send: an error, which is an *rpc.Error, says that the call was not
// executed. To a plain queue a request may go without service and method.
func CheckRequest(r *rpc.Request, plain bool, maxBody int) error {
	if err := CheckService(r.Service); err != nil && !plain {
		return invalid("%v", err)
	}
	if err := CheckMethod(r.Method); err != nil && !(plain && r.Method == "") {
		return invalid("%v", err)
	}
	if r.ID == "" || len(r.ID) > 255 {
		return invalid("call ID must have 1 to 255 bytes, got %d", len(r.ID))
	}
	if len(r.Body) > maxBody {
		return invalid("request body has %d bytes, at most %d are allowed", len(r.Body), maxBody)
	}
	return CheckHeader(r.Header)
}

// CheckHeader reports whether a caller may add these headers to a request.
func CheckHeader(h rpc.Header) error {
	size := 0
	for name, value := range h {
		if size += len(name) + len(value) + 8; reserved(name) {
			return invalid("header name %q is reserved", name)
		}
	}
	if len(h) > maxUserHeaders || size > maxUserHeaderBytes {
		return invalid("request has %d headers with %d bytes, at most %d with %d are allowed",
			len(h), size, maxUserHeaders, maxUserHeaderBytes)
	}
	return nil
}

// What a caller may add leaves room for the headers of the protocol and the broker, within what a server takes by default.
const (
	maxUserHeaders     = 48
	maxUserHeaderBytes = 14 << 10
)

// DeliveryCount is how often a request was delivered before without an end, as far as its queue counts that: quorum
// queues do.
func DeliveryCount(m *conn.Message) int {
	n, _ := integer(m.Headers["x-delivery-count"])
	return int(max(0, n))
}

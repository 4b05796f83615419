package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func source() wire.Source {
	return wire.Source{Service: "math", Timeout: time.Minute, Limits: wire.DefaultLimits}
}

func plain() wire.Source {
	s := source()
	s.Plain, s.Method = true, "fib"
	return s
}

func TestRequestEncodeDecode(t *testing.T) {
	for _, mode := range []wire.Mode{wire.Direct, wire.Queued, wire.Plain} {
		t.Run(mode.String(), func(t *testing.T) {
			src := source()
			src.Plain = mode == wire.Plain
			want := call()
			want.Plain = mode == wire.Plain
			want.Waits = !want.Plain
			got, err := wire.DecodeRequest(wire.EncodeRequest(request(), attempt(mode)), src)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// A timeout that is cut to nothing would be refused.
func TestShortestTimeout(t *testing.T) {
	for _, d := range []time.Duration{time.Nanosecond, 0, -time.Second} {
		a := attempt(wire.Queued)
		a.Timeout = d
		m := wire.EncodeRequest(request(), a)
		if c, err := wire.DecodeRequest(m, source()); err != nil || c.Timeout != time.Millisecond || m.Expiration != "1" {
			t.Errorf("%v: got %v, %v, expiration %s, want 1ms", d, c.Timeout, err, m.Expiration)
		}
	}
}

// Whatever a request is refused for, its caller learns which attempt that was: to a later one it would mean nothing.
func TestRefusalTellsAttempt(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(m *conn.Message)
	}{
		{"body", func(m *conn.Message) { m.Body = make([]byte, wire.DefaultLimits.Body+1) }},
		{"version", func(m *conn.Message) { m.Headers["rpc-version"] = int64(2) }},
		{"method", func(m *conn.Message) { m.Type = "" }},
	} {
		m := wire.EncodeRequest(request(), attempt(wire.Direct))
		m.Headers["rpc-attempt"] = int64(7)
		c.edit(m)
		call, err := wire.DecodeRequest(m, source())
		if err == nil {
			t.Errorf("%s: not refused", c.name)
			continue
		}
		if got := wire.AttemptOf(wire.EncodeError(call, rpc.Errorf(rpc.InvalidArgument, "no"), "s")); got != 7 {
			t.Errorf("%s: the answer is for attempt %d, want 7", c.name, got)
		}
	}
}

// A user's header never replaces one of the protocol.
func TestProtocolHeadersWin(t *testing.T) {
	r := request()
	r.Header = rpc.Header{"rpc-version": "mallory", "rpc-attempt": "x"}
	m := wire.EncodeRequest(r, attempt(wire.Direct))
	if got := fmt.Sprintln(m.Headers["rpc-version"], m.Headers["rpc-attempt"]); got != "1 2\n" {
		t.Errorf("got %q", got)
	}
}

func TestDecodeRequest(t *testing.T) {
	type edit = func(*conn.Message)
	header := func(name string, v any) edit { return func(m *conn.Message) { m.Headers[name] = v } }
	without := func(name string) edit { return func(m *conn.Message) { delete(m.Headers, name) } }
	for _, c := range []struct {
		name string
		edit edit
		src  func() wire.Source
		want rpc.Code
	}{
		{"nothing wrong", func(*conn.Message) {}, source, rpc.OK},

		{"body at the limit", func(m *conn.Message) { m.Body = make([]byte, 4<<20) }, source, rpc.OK},
		{"body over the limit", func(m *conn.Message) { m.Body = make([]byte, 4<<20+1) }, source, rpc.InvalidArgument},
		{"headers at the limit", manyHeaders(64), source, rpc.OK},
		{"headers over the limit", manyHeaders(65), source, rpc.InvalidArgument},
		{"header text over the limit", header("a", strings.Repeat("x", 16<<10)), source, rpc.InvalidArgument},
		{"header bytes over the limit", header("a", make([]byte, 16<<10)), source, rpc.InvalidArgument},
		{"header name over the limit", header(strings.Repeat("x", 16<<10), ""), source, rpc.InvalidArgument},
		{"header list over the limit", header("a", slices.Repeat([]any{nil}, 2048)), source, rpc.InvalidArgument},
		{"header text in a list over the limit", header("a", []any{strings.Repeat("x", 16<<10)}), source, rpc.InvalidArgument},
		{"header text in a table in a list over the limit", header("a", []any{map[string]any{"b": strings.Repeat("x", 16<<10)}}), source,
			rpc.InvalidArgument},
		{"header name in a table over the limit", header("a", map[string]any{strings.Repeat("x", 16<<10): nil}), source, rpc.InvalidArgument},
		{"header lists inside of each other over the limit", header("a", deep(2048)), source, rpc.InvalidArgument},
		{"header lists inside of each other", header("a", deep(1024)), source, rpc.OK},

		{"dead letter of another queue", dead(""), source, rpc.PermissionDenied},
		{"dead letter that was sent to the service", dead("rabbitrpc.math"), source, rpc.OK},
		{"dead letter, plain", dead(""), plain, rpc.OK},

		{"no version", without("rpc-version"), source, rpc.Unimplemented},
		{"version 2", header("rpc-version", int64(2)), source, rpc.Unimplemented},
		{"version as text", header("rpc-version", "1"), source, rpc.Unimplemented},
		{"no version, plain", without("rpc-version"), plain, rpc.OK},
		{"version 2, plain", header("rpc-version", int64(2)), plain, rpc.Unimplemented},

		{"no call ID", func(m *conn.Message) { m.CorrelationID = "" }, source, rpc.InvalidArgument},
		{"no call ID, plain", func(m *conn.Message) { m.CorrelationID = "" }, plain, rpc.OK},
		{"no method", func(m *conn.Message) { m.Type = "" }, source, rpc.InvalidArgument},
		{"no method, plain", func(m *conn.Message) { m.Type = "" }, plain, rpc.OK},
		{"method that is no name", func(m *conn.Message) { m.Type = "fib\r\n" }, source, rpc.InvalidArgument},

		{"no client", func(m *conn.Message) { m.AppID = "" }, source, rpc.OK},

		{"no attempt", without("rpc-attempt"), source, rpc.OK},
		{"attempt 0", header("rpc-attempt", int64(0)), source, rpc.InvalidArgument},
		{"attempt too high", header("rpc-attempt", int64(1<<31)), source, rpc.InvalidArgument},
		{"attempt as text", header("rpc-attempt", "1"), source, rpc.InvalidArgument},
		{"attempt as 64 bit float", header("rpc-attempt", 1.0), source, rpc.InvalidArgument},
		{"attempt in 8 bits", header("rpc-attempt", int8(1)), source, rpc.OK},
		{"attempt in 8 bits, unsigned", header("rpc-attempt", uint8(1)), source, rpc.OK},
		{"attempt in 16 bits", header("rpc-attempt", int16(1)), source, rpc.OK},
		{"attempt in 16 bits, unsigned", header("rpc-attempt", uint16(1)), source, rpc.OK},
		{"attempt in 32 bits", header("rpc-attempt", int32(1)), source, rpc.OK},
		{"attempt in 32 bits, unsigned", header("rpc-attempt", uint32(1)), source, rpc.OK},

		{"no timeout", without("rpc-timeout-ms"), source, rpc.OK},
		{"timeout 0", header("rpc-timeout-ms", int64(0)), source, rpc.InvalidArgument},
		{"timeout negative", header("rpc-timeout-ms", int64(-1)), source, rpc.InvalidArgument},
		{"timeout as text", header("rpc-timeout-ms", "1000"), source, rpc.InvalidArgument},
		{"timeout at the limit", header("rpc-timeout-ms", int64(86_400_000)), source, rpc.OK},
		{"timeout over the limit", header("rpc-timeout-ms", int64(86_400_001)), source, rpc.InvalidArgument},
		{"timeout that overflows", header("rpc-timeout-ms", int64(1<<62)), source, rpc.InvalidArgument},

		{"text", func(m *conn.Message) { m.ContentType = "text/plain" }, source, rpc.OK},
		{"content type unknown", func(m *conn.Message) { m.ContentType = "image/png" }, source, rpc.Unimplemented},
		{"content type malformed", func(m *conn.Message) { m.ContentType = "\x1b[31m" }, source, rpc.InvalidArgument},
		{"content encoding", func(m *conn.Message) { m.ContentEncoding = "br" }, source, rpc.Unimplemented},
		{"content encoding that lies", func(m *conn.Message) { m.ContentEncoding = "gzip" }, source, rpc.InvalidArgument},
		{"content encoding that says nothing", func(m *conn.Message) { m.ContentEncoding = "identity" }, source, rpc.OK},
		{"character set as encoding", func(m *conn.Message) { m.ContentEncoding = "utf-8" }, source, rpc.Unimplemented},
		{"character set as encoding, plain", func(m *conn.Message) { m.ContentEncoding = "UTF-8" }, plain, rpc.OK},
		{"content encoding, plain", func(m *conn.Message) { m.ContentEncoding = "br" }, plain, rpc.Unimplemented},
		{"content encoding that lies, plain", func(m *conn.Message) { m.ContentEncoding = "gzip" }, plain, rpc.InvalidArgument},
		{"content encoding that is one, plain", func(m *conn.Message) { m.ContentEncoding, m.Body = "gzip", gzipped(m.Body) }, plain, rpc.OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := wire.EncodeRequest(request(), attempt(wire.Queued))
			c.edit(m)
			call, err := wire.DecodeRequest(m, c.src())
			if got := rpc.CodeOf(err); got != c.want || err != nil && rpc.Executed(err) != rpc.ExecutedNo {
				t.Errorf("got %v, executed %v, want %v, executed no", err, rpc.Executed(err), c.want)
			}
			if call == nil || call.ReplyTo != m.ReplyTo || call.ID != m.CorrelationID {
				t.Errorf("got %+v, with which nobody can answer", call)
			}
		})
	}
}

// dead makes a message a dead letter that came by this exchange.
func dead(exchange string) func(*conn.Message) {
	return func(m *conn.Message) { m.Exchange, m.Headers["x-death"] = exchange, []any{} }
}

// deep is a list in a list and so on, deeper than a library would read.
func deep(n int) (v any) {
	for range n {
		v = []any{v}
	}
	return v
}

func manyHeaders(n int) func(*conn.Message) {
	return func(m *conn.Message) {
		for i := len(m.Headers); i < n; i++ {
			m.Headers[fmt.Sprint("h", i)] = ""
		}
	}
}

func TestReplyToOfRequest(t *testing.T) {
	for _, c := range []struct {
		replyTo       string
		source, plain bool
	}{
		{"amq.gen-1", true, true},
		{"amq.rabbitmq.reply-to.g1h2", false, true},
		{"my-replies", false, true}, // the broker is asked who owns it
		{"rabbitrpc.math", false, false},
		{"", false, false},
	} {
		for src, want := range map[*wire.Source]bool{ptr(source()): c.source, ptr(plain()): c.plain} {
			m := wire.EncodeRequest(request(), attempt(wire.Queued))
			m.ReplyTo, m.Type = c.replyTo, "\x00" // which of two errors must not depend on the second
			if _, err := wire.DecodeRequest(m, *src); errors.Is(err, wire.ErrNoReply) == want {
				t.Errorf("reply-to %q, plain %v: got %v, answerable %v", c.replyTo, src.Plain, err, want)
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestPlainDefaults(t *testing.T) {
	for _, c := range []struct {
		name        string
		m           conn.Message
		contentType string
		timeout     time.Duration
	}{
		{"nothing said", conn.Message{}, "text/plain", time.Minute},
		{"octets", conn.Message{ContentType: "application/octet-stream"}, "text/plain", time.Minute},
		{"JSON", conn.Message{ContentType: "application/json"}, "application/json", time.Minute},
		{"expiration", conn.Message{Expiration: "1500"}, "text/plain", 1500 * time.Millisecond},
		{"expiration 0", conn.Message{Expiration: "0"}, "text/plain", time.Minute},
		{"expiration in ten years", conn.Message{Expiration: "315360000000"}, "text/plain", time.Minute},
		{"expiration garbage", conn.Message{Expiration: "soon"}, "text/plain", time.Minute},
		{"an app id, of many processes", conn.Message{AppID: "shop"}, "text/plain", time.Minute},
	} {
		c.m.ReplyTo, c.m.CorrelationID, c.m.Body = "amq.gen-1", "1", []byte("30")
		want := &wire.Call{
			Request: rpc.Request{
				Service: "math", Method: "fib", ContentType: c.contentType, Body: []byte("30"), ID: "1", Client: "amq.gen-1", Attempt: 1,
			},
			ReplyTo: "amq.gen-1", Timeout: c.timeout, Plain: true,
		}
		if got, err := wire.DecodeRequest(&c.m, plain()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, want)
		}
	}
}

// Only text that is the user's own reaches a handler.
func TestHeadersOfRequest(t *testing.T) {
	m := wire.EncodeRequest(request(), attempt(wire.Direct))
	for name, v := range map[string]any{
		"x-death": []any{}, "x-first-death-reason": "expired", "BCC": "q", "rpc-future": "1", "number": int64(1), "table": map[string]any{},
	} {
		m.Headers[name] = v
	}
	got, err := wire.DecodeRequest(m, source())
	if err != nil || !reflect.DeepEqual(got.Header, request().Header) {
		t.Errorf("got %v, %v, want %v", got.Header, err, request().Header)
	}
}

func TestCheckRequest(t *testing.T) {
	for _, c := range []struct {
		name      string
		edit      func(*rpc.Request)
		ok, plain bool
	}{
		{"nothing wrong", func(*rpc.Request) {}, true, true},
		{"no service", func(r *rpc.Request) { r.Service = "" }, false, true},
		{"bad service", func(r *rpc.Request) { r.Service = "a.b" }, false, true}, // it goes nowhere
		{"no method", func(r *rpc.Request) { r.Method = "" }, false, true},
		{"bad method", func(r *rpc.Request) { r.Method = "a b" }, false, false},
		{"no ID", func(r *rpc.Request) { r.ID = "" }, false, false},
		{"long ID", func(r *rpc.Request) { r.ID = strings.Repeat("x", 256) }, false, false},
		{"header of the protocol", func(r *rpc.Request) { r.Header["rpc-user"] = "" }, false, false},
		{"header of the broker", func(r *rpc.Request) { r.Header["x-death"] = "" }, false, false},
		{"CC", func(r *rpc.Request) { r.Header["CC"] = "" }, false, false},
		{"BCC", func(r *rpc.Request) { r.Header["BCC"] = "" }, false, false},
	} {
		for plain, want := range map[bool]bool{false: c.ok, true: c.plain} {
			r := request()
			c.edit(r)
			err := wire.CheckRequest(r, plain, 1<<20)
			if (err == nil) != want {
				t.Errorf("%s, plain %v: got %v, legal %v", c.name, plain, err, want)
			}
			if err != nil && (rpc.CodeOf(err) != rpc.InvalidArgument || rpc.Executed(err) != rpc.ExecutedNo) {
				t.Errorf("%s: got %v, executed %v, want invalid_argument, executed no", c.name, err, rpc.Executed(err))
			}
		}
	}
}

// A client that sent more would learn from the server, or by the loss of its session.
func TestCheckRequestSize(t *testing.T) {
	for _, c := range []struct {
		name    string
		body    int
		headers int
		bytes   int
		ok      bool
	}{
		{"all at their limits", 1000, 48, 14<<10 - 48*(9+2), true},
		{"body", 1001, 1, 0, false},
		{"number of headers", 1, 49, 0, false},
		{"bytes of headers", 1, 1, 14 << 10, false},
	} {
		r := request()
		r.Body, r.Header = make([]byte, c.body), make(rpc.Header)
		for i := range c.headers {
			r.Header[fmt.Sprintf("h%02d", i)] = ""
		}
		r.Header["h00"] = strings.Repeat("x", c.bytes)
		err := wire.CheckRequest(r, false, 1000)
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v, legal %v", c.name, err, c.ok)
		}
		if err != nil && (rpc.CodeOf(err) != rpc.InvalidArgument || rpc.Executed(err) != rpc.ExecutedNo) {
			t.Errorf("%s: got %v, executed %v, want invalid_argument, executed no", c.name, err, rpc.Executed(err))
		}
		if err != nil {
			continue
		}
		if _, err := wire.DecodeRequest(wire.EncodeRequest(r, attempt(wire.Direct)), source()); err != nil {
			t.Errorf("%s: the server says %v", c.name, err)
		}
	}
}

func TestDecodeBounce(t *testing.T) {
	m := wire.EncodeRequest(request(), attempt(wire.Direct))
	if b, ok := wire.DecodeBounce(m); ok {
		t.Errorf("a request that has not come back is %+v", b)
	}
	m.Headers["x-first-death-reason"] = "expired"
	want := wire.Bounce{ID: "4f1c", Attempt: 2, Reason: "expired"}
	if got, ok := wire.DecodeBounce(m); !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
}

// headersFrom makes headers of the bytes that a fuzzer finds: a name, a type and a value, again and again.
func headersFrom(data []byte) map[string]any {
	names := []string{
		"rpc-version", "rpc-timeout-ms", "rpc-attempt", "CC", "x-first-death-reason", "a", "tenant",
		"rpc-code", "rpc-message", "rpc-details", "rpc-executed", "rpc-retry-after-ms", "rpc-replayed", "\x00",
	}
	headers := make(map[string]any)
	for len(data) >= 3 {
		name, kind, n := names[int(data[0])%len(names)], data[1], min(int(data[2]), len(data)-3)
		value := data[3 : 3+n]
		data = data[3+n:]
		number := int64(binary.BigEndian.Uint64(append(make([]byte, 8), value...)[n:]))
		headers[name] = [...]any{
			string(value), number, int32(number), uint8(number), float64(number), value, nil, n%2 == 0,
			time.Unix(number%1e9, 0), []any{string(value)}, map[string]any{"x": number},
		}[int(kind)%11]
	}
	return headers
}

// messages are all that an error to a caller can say, without what is quoted and counted.
var messages = map[string]bool{
	"request is a dead letter of another queue":                                       true,
	"request body has more than # bytes":                                              true,
	"request has # headers, at most # are allowed":                                    true,
	"request headers have # bytes, at most # are allowed":                             true,
	"header rpc-version must be #, the only protocol version that this server speaks": true,
	"request has no correlation id":                                                   true,
	"method name is empty":                                                            true,
	"method name has # bytes, at most # are allowed":                                  true,
	"method name ? has ?; letters, digits and any of ? are allowed":                   true,
	"header rpc-attempt must be # to #":                                               true,
	"header rpc-timeout-ms must be # to # milliseconds":                               true,
	"content encoding is not supported: gzip, zstd and identity are":                  true,
	"content type is not supported":                                                   true,
	"request body is not valid gzip":                                                  true,
	"request body is not valid zstd":                                                  true,
	"request body needs a zstd window of more than # bytes":                           true,
	"request body has more than # bytes when it is decompressed":                      true,
	"request body grows to more than # times its size when it is decompressed":        true,
	"JSON is nested deeper than #":                                                    true,
}

var (
	quoted  = regexp.MustCompile(`"(\\.|[^"\\])*"|'(\\.|[^'\\])*'`)
	counted = regexp.MustCompile(`\b[0-9]+\b`)
)

// checkMessage checks that a message, whatever was sent, is one that we know, and can be printed.
func checkMessage(t *testing.T, message string) {
	t.Helper()
	if !utf8.ValidString(message) || strings.ContainsFunc(message, unicode.IsControl) || len(message) > 600 {
		t.Errorf("message %q", message)
	}
	if known := counted.ReplaceAllString(quoted.ReplaceAllString(message, "?"), "#"); !messages[known] {
		t.Errorf("message %q is %q, which we don't know", message, known)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add("4f1c", "amq.gen-1", "fib", "application/json", "", "100", false, []byte("\x00\x01\x01\x01\x03\x00\x02me"), []byte("30"))
	f.Add("", "my-replies", "", "", "utf-8", "", true, []byte(nil), []byte("30"))
	f.Add("1", "amq.rabbitmq.reply-to.g1h2", "a/b", "text/plain; charset=utf-8", "gzip", "0", true, []byte("\x02\x03\x01\x09"), []byte("[[["))
	f.Add("1", "amq.gen-1", "fib", "application/json", "+gzip", "0", false, []byte("\x00\x01\x01\x01"), []byte(nest("[", "]", 10)))
	f.Add("1", "amq.gen-1", "fib", "application/json", "+zstd", "0", false, []byte("\x00\x01\x01\x01"), []byte(nest("[", "]", 9)))
	f.Add("1", "amq.gen-1", "fib", "text/plain", "zstd", "0", true, []byte(nil), bomb(1<<20))
	f.Add("1", "amq.gen-1", "\x1b[31m", "text/plain", "zstd", "0", true, []byte("\x06\x09\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), []byte(nil))
	f.Fuzz(func(t *testing.T, id, replyTo, method, contentType, encoding, expiration string, plainly bool, headers, body []byte) {
		if e, pack := strings.CutPrefix(encoding, "+"); pack { // what a fuzzer cannot guess
			switch encoding = e; e {
			case "gzip":
				body = gzipped(body)
			case "zstd":
				body = zstded(body)
			}
		}
		m := &conn.Message{
			CorrelationID: id, ReplyTo: replyTo, Type: method, ContentType: contentType, ContentEncoding: encoding,
			Expiration: expiration, Headers: headersFrom(headers), Body: body,
		}
		src := source()
		if plainly {
			src = plain()
		}
		src.Limits = wire.Limits{Body: 1 << 10, Ratio: 20, JSONDepth: 9, Headers: 8, HeaderBytes: 1 << 10, Timeout: time.Hour}
		c, err := wire.DecodeRequest(m, src)
		if c == nil {
			t.Fatal("no call")
		}
		var coded *rpc.Error
		switch {
		case err == nil:
			checkCall(t, c, src)
			checkBody(t, c, m, src)
		case errors.As(err, &coded):
			if coded.Executed != rpc.ExecutedNo {
				t.Errorf("%v: executed %v, want no", err, coded.Executed)
			}
			checkMessage(t, coded.Message)
			if len(id) <= 255 && len(replyTo) <= 255 {
				if err := wire.EncodeError(c, coded, "host/1").Validate(); err != nil {
					t.Errorf("error reply cannot be sent: %v", err)
				}
			}
		case !errors.Is(err, wire.ErrNoReply):
			t.Errorf("error %v can neither be answered nor dropped", err)
		}
	})
}

// checkBody checks that what a handler gets as a body is what was sent, within the bounds.
func checkBody(t *testing.T, c *wire.Call, m *conn.Message, src wire.Source) {
	t.Helper()
	if !strings.EqualFold(m.ContentEncoding, "gzip") && !strings.EqualFold(m.ContentEncoding, "zstd") {
		if !bytes.Equal(c.Body, m.Body) {
			t.Errorf("body %q became %q", m.Body, c.Body)
		}
	} else if len(c.Body) > src.Limits.Ratio*len(m.Body) {
		t.Errorf("%d bytes became %d", len(m.Body), len(c.Body))
	}
	if len(m.Body) > src.Limits.Body || len(c.Body) > src.Limits.Body {
		t.Errorf("body of %d bytes, of %d as it arrived", len(c.Body), len(m.Body))
	}
	codec, err := rpc.CodecFor(c.ContentType)
	if err == nil && codec.ContentType() == rpc.ContentTypeJSON && json.Valid(c.Body) && depthOf(c.Body) > src.Limits.JSONDepth {
		t.Errorf("JSON %q", c.Body)
	}
	size := 0
	for name, value := range m.Headers {
		size += len(name)
		if text, ok := value.(string); ok {
			size += len(text)
		}
	}
	if len(m.Headers) > src.Limits.Headers || size > src.Limits.HeaderBytes {
		t.Errorf("%d headers with %d bytes and more", len(m.Headers), size)
	}
}

// checkCall checks that what a handler gets is within the bounds.
func checkCall(t *testing.T, c *wire.Call, src wire.Source) {
	t.Helper()
	if c.ID == "" && !src.Plain {
		t.Error("no call ID")
	}
	if err := wire.CheckMethod(c.Method); err != nil {
		t.Error(err)
	}
	if c.Timeout < time.Millisecond || c.Timeout > src.Limits.Timeout {
		t.Errorf("timeout %v", c.Timeout)
	}
	if _, err := rpc.CodecFor(c.ContentType); err != nil {
		t.Error(err)
	}
	if c.Attempt < 1 || c.Client == "" {
		t.Errorf("attempt %d of client %q", c.Attempt, c.Client)
	}
	for name := range c.Header {
		if strings.HasPrefix(name, "rpc-") || strings.HasPrefix(name, "x-") || name == "CC" {
			t.Errorf("header %q is not the user's", name)
		}
	}
	switch wire.KindOfReplyTo(c.ReplyTo) {
	case wire.ReplyServer:
	case wire.ReplyDirect, wire.ReplyNamed:
		if !src.Plain {
			t.Errorf("reply-to %q", c.ReplyTo)
		}
	default:
		t.Errorf("reply-to %q", c.ReplyTo)
	}
}

func FuzzRequestEncodeDecode(f *testing.F) {
	f.Add("4f1c", "math", "fib", "application/json", "billing", "tenant", "blue", []byte("30"), 2, int64(1500), uint8(0))
	f.Fuzz(func(t *testing.T, id, service, method, contentType, client, name, value string, body []byte, n int, ms int64, mode uint8) {
		r := &rpc.Request{
			ID: id, Service: service, Method: method, ContentType: contentType, Client: client, Header: rpc.Header{name: value},
			Body: body, Attempt: n,
		}
		_, noCodec := rpc.CodecFor(contentType)
		if wire.CheckService(service) != nil || wire.CheckRequest(r, false, 1<<20) != nil || noCodec != nil || contentType == "" ||
			client == "" || len(client) > 255 || n < 1 || n > 1<<30 || ms < 1 || ms > 1e6 || len(value) > 1e4 || len(name) > 255 {
			t.Skip()
		}
		a := wire.Attempt{Mode: wire.Mode(mode % 2), ReplyTo: "amq.gen-1", Timeout: time.Duration(ms) * time.Millisecond}
		m := wire.EncodeRequest(r, a)
		if err := m.Validate(); err != nil {
			t.Skip() // the client refuses it
		}
		src := source()
		src.Service = service
		want := &wire.Call{Request: *r, ReplyTo: a.ReplyTo, Timeout: a.Timeout, Waits: true}
		if got, err := wire.DecodeRequest(m, src); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func FuzzDecodeBounce(f *testing.F) {
	f.Add("4f1c", []byte("\x05\x00\x07expired\x02\x01\x01\x02"))
	f.Fuzz(func(t *testing.T, id string, headers []byte) {
		m := &conn.Message{CorrelationID: id, Headers: headersFrom(headers)}
		reason, is := m.Headers["x-first-death-reason"].(string)
		b, ok := wire.DecodeBounce(m)
		if ok != is || ok && (b.ID != id || b.Reason != reason || b.Attempt != wire.AttemptOf(m)) {
			t.Errorf("got %+v, %v of %q", b, ok, m.Headers)
		}
	})
}

// Requests that share their headers say the same as those that do not.
func TestSharedHeaders(t *testing.T) {
	r := *request()
	for _, c := range []struct {
		name    string
		attempt int
		header  rpc.Header
		timeout time.Duration
		once    bool
	}{
		{"first", 1, nil, time.Second, false},
		{"the same", 1, nil, time.Second, false},
		{"another timeout", 1, nil, 2 * time.Second, false},
		{"again", 2, nil, 2 * time.Second, false},
		{"header", 1, rpc.Header{"a": "b"}, 2 * time.Second, false},
		{"once", 1, nil, 2 * time.Second, true},
		{"as before", 1, nil, 2 * time.Second, false},
	} {
		r.Attempt, r.Header = c.attempt, c.header
		a := wire.Attempt{ReplyTo: "amq.gen-1", Timeout: c.timeout, Once: c.once}
		alone := wire.EncodeRequest(&r, a)
		a.Share = true
		got := wire.EncodeRequest(&r, a)
		if !reflect.DeepEqual(got, alone) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, alone)
		}
		shared := testing.AllocsPerRun(10, func() { wire.EncodeRequest(&r, a) }) < testing.AllocsPerRun(10, func() {
			b := a
			b.Share = false
			wire.EncodeRequest(&r, b)
		})
		if want := c.attempt == 1 && c.header == nil && !c.once; shared != want {
			t.Errorf("%s: shared %v, want %v", c.name, shared, want)
		}
	}
}

// Only waits that are allowed count, whatever a caller says.
func TestGather(t *testing.T) {
	for value, want := range map[any]time.Duration{
		int64(0): 0, int64(1): time.Millisecond, int32(4): wire.MaxGather, int64(5): 0, int64(-1): 0, "1": 0, true: 0, nil: 0,
	} {
		m := &conn.Message{Headers: map[string]any{"rpc-gather-ms": value}}
		if got := wire.Gather(m); got != want {
			t.Errorf("%v: got %v, want %v", value, got, want)
		}
	}
	for _, want := range []time.Duration{time.Millisecond, 3 * time.Millisecond, 0, 3 * time.Millisecond, time.Millisecond} {
		r, a := request(), attempt(wire.Direct)
		r.Attempt, r.Header, a.Gather, a.Share = 1, nil, want, true
		if got := wire.Gather(wire.EncodeRequest(r, a)); got != want {
			t.Errorf("got %v, want %v, not that of the request before", got, want)
		}
	}
}

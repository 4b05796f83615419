package wire_test

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

func parking() wire.Parking {
	return wire.Parking{Reason: "it kills", Attempts: 5, At: time.Unix(1700000000, 0).UTC(), Server: "host/1", User: "clerk"}
}

// delivered is a message as a queue hands it over: with more in its headers, and in widths of others.
func delivered(m *conn.Message) *conn.Message {
	c := *m
	c.Mandatory = false
	c.Headers = maps.Clone(m.Headers)
	c.Headers["x-delivery-count"] = int64(5)
	c.Headers["x-received-from"] = []any{map[string]any{"count": int64(1)}}
	return &c
}

func TestEncodeParked(t *testing.T) {
	m := wire.EncodeRequest(request(), attempt(wire.Durable))
	m.UserID, m.MessageID, m.AppID, m.Timestamp, m.Priority = "clerk", "m", "a", time.Unix(1600000000, 0).UTC(), 3
	const want = `exchange: ""
routing key: rabbitrpc.math.parked
mandatory: true
persistent: true
content type: application/json
correlation id: 4f1c
reply-to: amq.gen-1
message id: m
type: fib
app id: a
priority: 3
timestamp: 2020-09-13 12:26:40 +0000 UTC
header rpc-attempt: int64 2
header rpc-parked-at: time.Time 2023-11-14 22:13:20 +0000 UTC
header rpc-parked-attempts: int64 5
header rpc-parked-by: string host/1
header rpc-parked-reason: string it kills
header rpc-parked-user: string clerk
header rpc-timeout-ms: int64 1500
header rpc-version: int64 1
header tenant: string blue
header traceparent: string 00-1-2-01

30
`
	parked := wire.EncodeParked(delivered(m), "math", parking())
	if got := show(parked); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := show(wire.Reparked(delivered(parked), "math")); got != want {
		t.Errorf("once more: got\n%s\nwant\n%s", got, want)
	}
	if got, ok := wire.DecodeParked(parked); !ok || got != parking() {
		t.Errorf("got %+v, %v, want %+v", got, ok, parking())
	}
	if got, ok := wire.DecodeParked(m); ok {
		t.Errorf("got %+v of a message that was not parked", got)
	}
}

// Anybody who may call some service can have his request go where its dead letters go, here among the parked ones of another.
func TestForgedParked(t *testing.T) {
	forged := wire.EncodeParked(wire.EncodeRequest(request(), attempt(wire.Durable)), "math", parking())
	forged.Headers["x-death"] = []any{}
	for name, m := range map[string]*conn.Message{"as it came": forged, "written anew": wire.Reparked(forged, "math")} {
		if got, ok := wire.DecodeParked(m); ok {
			t.Errorf("%s: got %+v, want none", name, got)
		}
		if got, err := wire.EncodeUnparked(m, "math"); err == nil {
			t.Errorf("%s: requeued as %+v", name, got)
		}
	}
}

// A request that no publisher would take again must be parked all the same: or it would be started for ever.
func TestParkedCanBeSent(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	many := make(map[string]any)
	for i := range 8000 {
		many[fmt.Sprint("h", i)] = true
	}
	for _, c := range []struct {
		name    string
		headers map[string]any
		want    string // of tenant
	}{
		{"tables and lists", map[string]any{
			"table": map[string]any{"a": map[string]any{}}, "list": []any{int32(1)}, "deep": []any{deep(40)}, "nothing": nil,
		}, "blue"},
		{"numbers of any width", map[string]any{
			"a": int32(1), "b": int16(1), "c": int8(1), "d": uint32(1), "e": uint16(1), "f": uint8(1), "g": float32(1), "h": 1,
		}, "blue"},
		{"keys that are text", map[string]any{"CC": "a", "BCC": "b"}, "blue"},
		{"keys", map[string]any{"CC": []any{"a"}, "BCC": []any{"b"}}, "blue"},
		{"of the broker", map[string]any{"x-match": "all", "x-first-death-reason": "expired"}, "blue"},
		{"text too long", map[string]any{"long": long}, ""},
		{"too many", many, ""},
		{"of the protocol, and too long", map[string]any{"rpc-at-most-once": long, "rpc-attempt": long, "rpc-future": long}, ""},
		{"of the protocol, and no text", map[string]any{"rpc-at-most-once": []byte(long)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := wire.EncodeRequest(request(), attempt(wire.Queued))
			m.Headers["tenant"] = "blue"
			maps.Copy(m.Headers, c.headers)
			parked := wire.EncodeParked(m, "math", parking())
			if err := parked.Validate(); err != nil {
				t.Error(err)
			}
			for _, name := range []string{"CC", "BCC", "x-match", "x-first-death-reason", "deep"} {
				if v, there := parked.Headers[name]; there {
					t.Errorf("header %s is %v", name, v)
				}
			}
			for name, value := range c.headers {
				if n := fmt.Sprint(value); n == "1" && name != "g" && parked.Headers[name] != int64(1) {
					t.Errorf("header %s is %T %v, want int64 1", name, parked.Headers[name], parked.Headers[name])
				}
			}
			if got, _ := parked.Headers["tenant"].(string); got != c.want {
				t.Errorf("header tenant is %q, want %q", got, c.want)
			}
			if got, ok := wire.DecodeParked(parked); !ok || got != parking() {
				t.Errorf("got %+v, %v", got, ok)
			}
			if parked.Headers["rpc-version"] != int64(1) || parked.Headers["rpc-timeout-ms"] != int64(1500) {
				t.Errorf("headers of the protocol are gone: %v", parked.Headers)
			}
		})
	}
}

// A caller cannot say who has sent its request.
func TestParkingIsTheServers(t *testing.T) {
	m := wire.EncodeRequest(request(), attempt(wire.Queued))
	m.Headers["rpc-parked-user"], m.Headers["rpc-parked-future"] = "root", "x"
	why := parking()
	why.User = ""
	parked := wire.EncodeParked(m, "math", why)
	if got, ok := wire.DecodeParked(parked); !ok || got != why || parked.Headers["rpc-parked-future"] != nil {
		t.Errorf("got %+v, %v, want %+v", got, ok, why)
	}
}

func TestEncodeUnparked(t *testing.T) {
	m := wire.EncodeRequest(request(), attempt(wire.Durable))
	m.Headers["rpc-timeout-ms"], m.Headers["rpc-at-most-once"] = int64(60000), true
	got, err := wire.EncodeUnparked(delivered(wire.EncodeParked(m, "math", parking())), "math")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`exchange: "rabbitrpc.math"
routing key: amq.gen-1
mandatory: true
persistent: true
content type: application/json
correlation id: %s
reply-to: amq.gen-1
type: fib
app id: rabbitrpc parked
header parked-call: string 4f1c
header rpc-at-most-once: bool true
header rpc-timeout-ms: int64 60000
header rpc-version: int64 1
header tenant: string blue
header traceparent: string 00-1-2-01

30
`, got.CorrelationID)
	if show(got) != want {
		t.Errorf("got\n%s\nwant\n%s", show(got), want)
	}
}

// parkedAs parks a request as it was edited, and delivers it.
func parkedAs(edit func(*conn.Message)) *conn.Message {
	m := wire.EncodeRequest(request(), attempt(wire.Queued))
	edit(m)
	return delivered(wire.EncodeParked(m, "math", parking()))
}

func TestUnparkedRunsAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*conn.Message)
		want func(*wire.Call) bool
	}{
		{"little time left", func(m *conn.Message) { m.Headers["rpc-timeout-ms"] = int64(29999) }, func(c *wire.Call) bool { return c.Timeout == time.Minute }},
		{"half a minute", func(m *conn.Message) { m.Headers["rpc-timeout-ms"] = int32(30000) }, func(c *wire.Call) bool { return c.Timeout == 30*time.Second }},
		{"a named reply queue", func(m *conn.Message) { m.ReplyTo = "replies" }, func(c *wire.Call) bool { return c.ReplyTo == "amq.gen-rabbitrpc-parked" }},
		{"direct reply-to", func(m *conn.Message) { m.ReplyTo = "amq.rabbitmq.reply-to.g1" }, func(c *wire.Call) bool { return c.ReplyTo == "amq.gen-rabbitrpc-parked" }},
		{"the service's own queue", func(m *conn.Message) { m.ReplyTo = "rabbitrpc.math" }, func(c *wire.Call) bool { return c.ReplyTo == "amq.gen-rabbitrpc-parked" }},
		{"from a plain queue", func(m *conn.Message) { clear(m.Headers); m.ContentType, m.ContentEncoding = "", "UTF-8" }, func(c *wire.Call) bool {
			return c.ContentType == "text/plain" && c.Header["parked-call"] == "4f1c"
		}},
		{"bytes from a plain queue", func(m *conn.Message) { clear(m.Headers); m.ContentType = "application/octet-stream" }, func(c *wire.Call) bool {
			return c.ContentType == "text/plain"
		}},
		{"bytes", func(m *conn.Message) { m.ContentType = "application/octet-stream" }, func(c *wire.Call) bool {
			return c.ContentType == "application/octet-stream"
		}},
		{"parked before", func(m *conn.Message) { m.AppID, m.Headers["parked-call"] = "rabbitrpc parked", "first" }, func(c *wire.Call) bool {
			return c.Header["parked-call"] == "first"
		}},
		{"parked before, says its caller", func(m *conn.Message) { m.Headers["parked-call"] = "first" }, func(c *wire.Call) bool {
			return c.Header["parked-call"] == "4f1c"
		}},
		{"compressed", func(m *conn.Message) { m.ContentEncoding, m.Body = "gzip", gzipped(m.Body) }, func(c *wire.Call) bool {
			return string(c.Body) == "30"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := wire.EncodeUnparked(parkedAs(c.edit), "math")
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.DecodeRequest(m, source())
			if err != nil || !c.want(got) || got.Attempt != 1 || got.Client != "rabbitrpc parked" {
				t.Errorf("it would run as %+v, %v", got, err)
			}
		})
	}
}

// The new ID names the call: always the same one, and no other call's.
func TestUnparkedID(t *testing.T) {
	id := func(edit func(*conn.Message), service string) string {
		t.Helper()
		m, err := wire.EncodeUnparked(parkedAs(edit), service)
		if err != nil {
			t.Fatal(err)
		}
		return m.CorrelationID
	}
	seen := map[string]string{"4f1c": "the old one"}
	for name, edit := range map[string]func(*conn.Message){
		"as it is":      func(*conn.Message) {},
		"another ID":    func(m *conn.Message) { m.CorrelationID = "4f1d" },
		"client":        func(m *conn.Message) { m.AppID = "shipping" },
		"no client":     func(m *conn.Message) { m.AppID = "" },
		"method":        func(m *conn.Message) { m.Type = "fact" },
		"body":          func(m *conn.Message) { m.Body = []byte("31") },
		"content type":  func(m *conn.Message) { m.ContentType = "text/plain" },
		"shifted names": func(m *conn.Message) { m.Type, m.CorrelationID = "fib4", "f1c" },
	} {
		got := id(edit, "math")
		if other := seen[got]; other != "" || id(edit, "math") != got {
			t.Errorf("%s: got %s, which is %q, then %s", name, got, other, id(edit, "math"))
		}
		seen[got] = name
	}
	if got := id(func(*conn.Message) {}, "other"); seen[got] != "" {
		t.Errorf("another service: got %s, which is %q", got, seen[got])
	}
	of := parkedAs(func(*conn.Message) {})
	of.Headers["rpc-parked-user"] = "root"
	if m, err := wire.EncodeUnparked(of, "math"); err != nil || seen[m.CorrelationID] != "" {
		t.Errorf("another user: got %+v, %v, want another call", m, err)
	}
	attempts := func(m *conn.Message) { m.Headers["rpc-attempt"], m.Headers["rpc-timeout-ms"] = int64(7), int64(1) }
	if got := id(attempts, "math"); seen[got] != "as it is" {
		t.Errorf("another attempt: got %s, want the same call", got)
	}
	nameless := func(m *conn.Message) { m.CorrelationID = "" }
	if one, two := id(nameless, "math"), id(nameless, "math"); one == two {
		t.Errorf("two calls without an ID have the same one, %s", one)
	}
}

func TestUnparkedRefused(t *testing.T) {
	if m, err := wire.EncodeUnparked(wire.EncodeRequest(request(), attempt(wire.Queued)), "math"); err == nil {
		t.Errorf("what was not parked: got %+v", m)
	}
	if m, err := wire.EncodeUnparked(parkedAs(func(m *conn.Message) { m.Type = "" }), "math"); err == nil {
		t.Errorf("without a method: got %+v", m)
	}
}

func TestParkedBody(t *testing.T) {
	m := wire.EncodeRequest(request(), attempt(wire.Queued))
	m.ContentEncoding, m.Body = "gzip", gzipped([]byte("30"))
	if got, err := wire.ParkedBody(m); string(got) != "30" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	m.Body = []byte("30")
	if got, err := wire.ParkedBody(m); err == nil {
		t.Errorf("got %q of what is not compressed", got)
	}
}

// What a server has taken can be parked, whatever it is, and a server takes it again.
func FuzzParked(f *testing.F) {
	f.Add("4f1c", "amq.gen-1", "fib", "application/json", "", false, []byte("\x00\x01\x01\x01\x03\x00\x02me"), []byte("30"))
	f.Add("", "my-replies", "", "", "utf-8", true, []byte(nil), []byte("30"))
	f.Add("1", "amq.rabbitmq.reply-to.g1h2", "a/b", "application/octet-stream", "", true, []byte("\x02\x03\x01\x09"), []byte("[[["))
	f.Fuzz(func(t *testing.T, id, replyTo, method, contentType, encoding string, plainly bool, headers, body []byte) {
		m := &conn.Message{
			CorrelationID: id, ReplyTo: replyTo, Type: method, ContentType: contentType, ContentEncoding: encoding,
			Headers: headersFrom(headers), Body: body,
		}
		src := source()
		if plainly {
			src = plain()
		}
		call, err := wire.DecodeRequest(m, src)
		if err != nil || len(id) > 255 || len(replyTo) > 255 || len(contentType) > 255 {
			return
		}
		parked := wire.EncodeParked(m, "math", parking())
		if err := parked.Validate(); err != nil {
			t.Fatalf("cannot be parked: %v", err)
		}
		if got, ok := wire.DecodeParked(parked); !ok || got != parking() {
			t.Errorf("parked with %+v, %v", got, ok)
		}
		if method == "" {
			return
		}
		again, err := wire.EncodeUnparked(parked, "math")
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Validate(); err != nil {
			t.Fatal(err)
		}
		src = source()
		src.Limits.Headers, src.Limits.HeaderBytes = src.Limits.Headers+2, src.Limits.HeaderBytes+1<<10
		got, err := wire.DecodeRequest(again, src)
		if err != nil {
			t.Fatalf("no server would take it: %v", err)
		}
		if got.Method != call.Method || got.ContentType != call.ContentType || !bytes.Equal(got.Body, call.Body) || got.ID == id {
			t.Errorf("got %+v, want the request %+v", got, call)
		}
	})
}

package wire_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestReplyEncodeDecode(t *testing.T) {
	for _, want := range []rpc.Reply{
		{ContentType: "application/json", Body: []byte("832040"), Server: "host/1"},
		{ContentType: "text/plain", Body: []byte{}, Server: "host/1", Replayed: true},
	} {
		got, err := wire.DecodeReply(wire.EncodeReply(call(), &want))
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestErrorEncodeDecode(t *testing.T) {
	for code := rpc.Canceled; code <= rpc.Unauthenticated; code++ {
		for _, executed := range []rpc.Execution{rpc.ExecutedUnknown, rpc.ExecutedNo, rpc.ExecutedYes} {
			want := &rpc.Error{
				Code: code, Message: "a\nb", Details: json.RawMessage(`[1]`), RetryAfter: time.Second, Executed: executed,
			}
			reply, err := wire.DecodeReply(wire.EncodeError(call(), want, "host/1"))
			want.Remote = true
			if reply != nil || !reflect.DeepEqual(err, want) {
				t.Errorf("got %v, %+v, want %+v", reply, err, want)
			}
		}
	}
}

// An error on the way to the caller is worth more than its text and details.
func TestEncodeErrorBounds(t *testing.T) {
	long := strings.Repeat("é", 1<<10)
	for _, c := range []struct {
		name    string
		err     rpc.Error
		want    rpc.Error
		message int
	}{
		{"message too long", rpc.Error{Code: rpc.NotFound, Message: long}, rpc.Error{Code: rpc.NotFound, Message: long[:1<<10]}, 1 << 10},
		{"message cut within a character", rpc.Error{Code: rpc.NotFound, Message: "x" + long},
			rpc.Error{Code: rpc.NotFound, Message: "x" + long[:1<<10-2]}, 1<<10 - 1},
		{"message not UTF-8", rpc.Error{Code: rpc.NotFound, Message: "a\xff\xfeb"}, rpc.Error{Code: rpc.NotFound, Message: "a�b"}, 5},
		{"details at the limit", rpc.Error{Code: rpc.NotFound, Details: text(8 << 10)}, rpc.Error{Code: rpc.NotFound, Details: text(8 << 10)}, 0},
		{"details too long", rpc.Error{Code: rpc.NotFound, Details: text(8<<10 + 1)}, rpc.Error{Code: rpc.NotFound}, 0},
		{"details no JSON", rpc.Error{Code: rpc.NotFound, Details: json.RawMessage("{")}, rpc.Error{Code: rpc.NotFound}, 0},
		{"code ok", rpc.Error{Code: rpc.OK}, rpc.Error{Code: rpc.Unknown}, 0},
		{"no code", rpc.Error{Code: 99}, rpc.Error{Code: rpc.Unknown}, 0},
		{"no execution", rpc.Error{Code: rpc.NotFound, Executed: 9}, rpc.Error{Code: rpc.NotFound}, 0},
		{"retry after less than 1ms", rpc.Error{Code: rpc.Aborted, RetryAfter: 1}, rpc.Error{Code: rpc.Aborted, RetryAfter: time.Millisecond}, 0},
		{"retry after more than a day", rpc.Error{Code: rpc.Aborted, RetryAfter: 48 * time.Hour}, rpc.Error{Code: rpc.Aborted, RetryAfter: 24 * time.Hour}, 0},
		{"retry after a negative time", rpc.Error{Code: rpc.Aborted, RetryAfter: -1}, rpc.Error{Code: rpc.Aborted}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := wire.EncodeError(call(), &c.err, "host/1")
			if err := m.Validate(); err != nil {
				t.Error(err)
			}
			c.want.Remote = true
			if _, err := wire.DecodeReply(m); !reflect.DeepEqual(err, &c.want) {
				t.Errorf("got %+v, want %+v", err, &c.want)
			}
			if _, said := m.Headers["rpc-details"]; said != (c.want.Details != nil) {
				t.Errorf("details are sent: %v", said)
			}
			if len(m.Body) != c.message || !utf8.Valid(m.Body) {
				t.Errorf("body %q has %d bytes, want %d", m.Body, len(m.Body), c.message)
			}
		})
	}
}

// text is a JSON string of n bytes.
func text(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n-2) + `"`) }

// What a foreign or broken server writes must not pass for success, nor for more than it says.
func TestDecodeReply(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers map[string]any
		want    *rpc.Error
	}{
		{"no headers", nil, nil},
		{"code unknown here", map[string]any{"rpc-code": "teapot"}, &rpc.Error{Code: rpc.Unknown}},
		{"code ok", map[string]any{"rpc-code": "ok"}, &rpc.Error{Code: rpc.Unknown}},
		{"code empty", map[string]any{"rpc-code": ""}, &rpc.Error{Code: rpc.Unknown}},
		{"code as bytes", map[string]any{"rpc-code": []byte("not_found")}, &rpc.Error{Code: rpc.Unknown}},
		{"code as number", map[string]any{"rpc-code": int64(5)}, &rpc.Error{Code: rpc.Unknown}},
		{"code null", map[string]any{"rpc-code": nil}, &rpc.Error{Code: rpc.Unknown}},
		{"message too long", map[string]any{"rpc-code": "aborted", "rpc-message": strings.Repeat("x", 2000)},
			&rpc.Error{Code: rpc.Aborted, Message: strings.Repeat("x", 1024)}},
		{"details too long", map[string]any{"rpc-code": "aborted", "rpc-details": string(text(8<<10 + 1))}, &rpc.Error{Code: rpc.Aborted}},
		{"details no JSON", map[string]any{"rpc-code": "aborted", "rpc-details": "{"}, &rpc.Error{Code: rpc.Aborted}},
		{"executed unheard of", map[string]any{"rpc-code": "aborted", "rpc-executed": "maybe"}, &rpc.Error{Code: rpc.Aborted}},
		{"retry in a year", map[string]any{"rpc-code": "aborted", "rpc-retry-after-ms": int64(31_536_000_000)}, &rpc.Error{Code: rpc.Aborted}},
		{"retry in the past", map[string]any{"rpc-code": "aborted", "rpc-retry-after-ms": int64(-1)}, &rpc.Error{Code: rpc.Aborted}},
		{"retry in 32 bits", map[string]any{"rpc-code": "aborted", "rpc-retry-after-ms": int32(5)},
			&rpc.Error{Code: rpc.Aborted, RetryAfter: 5 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			reply, err := wire.DecodeReply(&conn.Message{Headers: c.headers, Body: []byte("42")})
			if c.want == nil {
				if err != nil || string(reply.Body) != "42" {
					t.Errorf("got %v, %v, want 42", reply, err)
				}
				return
			}
			c.want.Remote = true
			if reply != nil || !reflect.DeepEqual(err, c.want) {
				t.Errorf("got %v, %+v, want %+v", reply, err, c.want)
			}
		})
	}
}

func FuzzDecodeReply(f *testing.F) {
	f.Add("text/plain", []byte("\x08\x00\x09not_found\x09\x00\x01x\x0b\x00\x02no\x0a\x00\x02{}\x0c\x01\x01\x05"), []byte("gone"))
	f.Add("", []byte("\x0d\x07\x00"), []byte("42"))
	f.Fuzz(func(t *testing.T, contentType string, headers, body []byte) {
		m := &conn.Message{ContentType: contentType, Headers: headersFrom(headers), Body: body}
		reply, err := wire.DecodeReply(m)
		if _, failed := m.Headers["rpc-code"]; failed != (err != nil) || failed != (reply == nil) {
			t.Fatalf("got %v, %v of %q", reply, err, m.Headers)
		}
		var e *rpc.Error
		if err == nil {
			return
		}
		if !errors.As(err, &e) || !e.Remote || e.Code == rpc.OK || len(e.Message) > 1<<10 || e.RetryAfter < 0 {
			t.Errorf("got %+v of %q", err, m.Headers)
		}
		if e.Details != nil && (!json.Valid(e.Details) || len(e.Details) > 8<<10) {
			t.Errorf("details %q", e.Details)
		}
		if e.RetryAfter > 24*time.Hour || e.Executed > rpc.ExecutedYes || e.Code > rpc.Unauthenticated {
			t.Errorf("got %+v", e)
		}
		again := *e
		again.Remote = false
		if !utf8.ValidString(e.Message) {
			return
		}
		if _, err := wire.DecodeReply(wire.EncodeError(call(), &again, "")); !reflect.DeepEqual(err, e) {
			t.Errorf("encoded again: got %+v, want %+v", err, e)
		}
	})
}

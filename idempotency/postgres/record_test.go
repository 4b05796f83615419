package postgres

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// What is stored stays readable for later versions.
func TestEncode(t *testing.T) {
	for _, tt := range []struct {
		record idempotency.Record
		head   string
	}{
		{idempotency.Record{Reply: &rpc.Reply{ContentType: "text/plain", Body: []byte("x"), Server: "math-1"}},
			`{"content_type":"dGV4dC9wbGFpbg==","server":"bWF0aC0x"}`},
		{idempotency.Record{Err: &rpc.Error{Code: rpc.NotFound, Message: "\xff", Details: json.RawMessage("7"),
			RetryAfter: time.Second, Executed: rpc.ExecutedYes, Remote: true}},
			`{"failed":true,"code":5,"message":"/w==","details":"Nw==","retry_after_ns":1000000000,"executed":2,"remote":true}`},
	} {
		head, body, err := encode(&tt.record)
		if err != nil || string(head) != tt.head {
			t.Errorf("encode = %s, %v, want %s", head, err, tt.head)
		}
		got, err := decode(head, body)
		if err != nil || show(got) != show(&tt.record) {
			t.Errorf("decode = %s, %v, want %s", show(got), err, show(&tt.record))
		}
	}
}

func show(r *idempotency.Record) string {
	if r.Err != nil {
		return fmt.Sprintf("%#v", *r.Err)
	}
	return fmt.Sprintf("%#v", *r.Reply)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"failed":true,"code":5}`), []byte("x"))
	f.Add([]byte(`{}`), []byte(nil))
	f.Fuzz(func(t *testing.T, head, body []byte) {
		r, err := decode(head, body)
		if (r == nil) == (err == nil) {
			t.Fatalf("decode = %v, %v", r, err)
		}
		if err != nil && rpc.CodeOf(err) != rpc.DataLoss {
			t.Fatalf("decode = %v, want data_loss", err)
		}
	})
}

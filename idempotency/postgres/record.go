package postgres

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// head is the JSON of a record but for the body of its reply. Strings are bytes: in JSON strings what is not
// UTF-8 would be lost.
type head struct {
	ContentType []byte `json:"content_type,omitempty"`
	Server      []byte `json:"server,omitempty"`

	Failed     bool          `json:"failed,omitempty"` // what follows is of the error
	Code       uint8         `json:"code,omitempty"`
	Message    []byte        `json:"message,omitempty"`
	Details    []byte        `json:"details,omitempty"`
	RetryAfter time.Duration `json:"retry_after_ns,omitempty"`
	Executed   uint8         `json:"executed,omitempty"`
	Remote     bool          `json:"remote,omitempty"`
}

func encode(r *idempotency.Record) (text, body []byte, err error) {
	var h head
	if e := r.Err; e != nil {
		h = head{
			Failed: true, Code: uint8(e.Code), Message: []byte(e.Message), Details: e.Details, RetryAfter: e.RetryAfter,
			Executed: uint8(e.Executed), Remote: e.Remote,
		}
	} else {
		h = head{ContentType: []byte(r.Reply.ContentType), Server: []byte(r.Reply.Server)}
		body = r.Reply.Body
	}
	text, err = json.Marshal(h)
	return text, body, err
}

// decode is the reverse of encode. The record shares memory with body.
func decode(text, body []byte) (*idempotency.Record, error) {
	var h head
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, rpc.Errorf(rpc.DataLoss, "what is stored of the call cannot be read").
			WithCause(fmt.Errorf("decode record: %w", err))
	}
	if h.Failed {
		return &idempotency.Record{Err: &rpc.Error{
			Code: rpc.Code(h.Code), Message: string(h.Message), Details: h.Details, RetryAfter: h.RetryAfter,
			Executed: rpc.Execution(h.Executed), Remote: h.Remote,
		}}, nil
	}
	reply := &rpc.Reply{ContentType: string(h.ContentType), Server: string(h.Server), Body: body}
	return &idempotency.Record{Reply: reply}, nil
}

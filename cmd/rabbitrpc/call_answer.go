package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// An outcome is what a program gets of a call.
type outcome struct {
	OK           bool            `json:"ok"`
	Code         rpc.Code        `json:"code"`
	Body         any             `json:"body,omitempty"` // JSON as it came, or a string
	BodyBase64   []byte          `json:"body_base64,omitempty"`
	ContentType  string          `json:"content_type,omitempty"`
	Server       string          `json:"server,omitempty"`
	Replayed     bool            `json:"replayed,omitempty"`
	Message      string          `json:"message,omitempty"`
	Details      json.RawMessage `json:"details,omitempty"`
	Executed     string          `json:"executed,omitempty"` // of an error: yes, no or unknown
	RetryAfterMS int64           `json:"retry_after_ms,omitempty"`
	Remote       bool            `json:"remote,omitempty"` // the server said it
	MS           float64         `json:"ms"`
}

func outcomeOf(reply *rpc.Reply, e *rpc.Error, took time.Duration) outcome {
	o := outcome{OK: e == nil, MS: float64(took.Microseconds()) / 1000}
	if e != nil {
		o.Code, o.Message, o.Details, o.Executed, o.Remote = e.Code, sentence(e.Message), bytes.ToValidUTF8(e.Details, []byte("�")), e.Executed.String(), e.Remote
		o.RetryAfterMS = e.RetryAfter.Milliseconds()
		return o
	}
	o.ContentType, o.Server, o.Replayed = reply.ContentType, reply.Server, reply.Replayed
	codec, err := rpc.CodecFor(reply.ContentType)
	switch {
	case !utf8.Valid(reply.Body):
		o.BodyBase64 = reply.Body
	case err == nil && codec.ContentType() == rpc.ContentTypeJSON && json.Valid(reply.Body):
		o.Body = json.RawMessage(reply.Body)
	default:
		o.Body = string(reply.Body)
	}
	return o
}

// answered shows what came of a call, and returns its error.
func (f *callFlags) answered(out io.Writer, reply *rpc.Reply, err error, took time.Duration) error {
	var e *rpc.Error
	if err != nil {
		var coded bool
		if e, coded = errors.AsType[*rpc.Error](err); !coded || f.output != "json" {
			return err
		}
	}
	switch f.output {
	case "json":
		if failed := writeLine(out, outcomeOf(reply, e, took)); failed != nil && err == nil {
			return unwritten(failed)
		}
		return err
	case "raw":
		if _, err := out.Write(reply.Body); err != nil {
			return unwritten(err)
		}
		return nil
	}
	return writeBody(out, reply.Body)
}

// unwritten is the error of a call that has succeeded, which nobody is to take for one that has not.
func unwritten(err error) error {
	return fmt.Errorf("the call has succeeded, but its reply cannot be written: %w", err)
}

package rpc

import (
	"encoding/json"
	"time"
)

// Method names a method of a service and the types of its request and result. Both
// sides share it, so that neither can get them wrong:
//
//	var Fib = rpc.Method[int, uint64]{Service: "math", Name: "fib"}
type Method[Req, Res any] struct {
	Service     string
	Name        string
	ContentType string // of the request and the result; "" means ContentTypeJSON
	Doc         string // what it does, for those who ask a server: see [Description]

	// Defaults for the calls of this method; those of a call win.

	Timeout    time.Duration // 0 means the client's
	AtMostOnce bool          // never send a call again once it may have been delivered
	Durable    bool          // the effect must happen even if the caller dies
}

// A Description is what a server says of a method to a caller that asks: see client.Describe. The schemas, in JSON Schema,
// are those of the Go types; nil where they are not known, or larger than 32 KiB, or the method does not take JSON.
type Description struct {
	Service     string          `json:"service"`
	Method      string          `json:"method"`
	Doc         string          `json:"doc,omitempty"`
	ContentType string          `json:"content_type,omitempty"`
	Request     json.RawMessage `json:"request,omitempty"`
	Result      json.RawMessage `json:"result,omitempty"`
}

// Marshal encodes v as contentType. It returns the errors of [CodecFor], and
// Internal if the content type cannot express v: the value is this side's own.
func Marshal(contentType string, v any) ([]byte, error) {
	c, err := CodecFor(contentType)
	if err != nil {
		return nil, err
	}
	return c.Marshal(v)
}

// Unmarshal decodes body, which is of the given content type, to a T. T may be a
// pointer; it is then allocated. The result shares no memory with body.
//
// It returns the errors of [CodecFor], InvalidArgument if body is not the encoding
// of a T, and Internal if no body could be. They say ExecutedUnknown: only the
// caller knows whether this is a request or a reply.
func Unmarshal[T any](contentType string, body []byte) (T, error) {
	var v T
	if b, ok := any(&v).(*[]byte); ok && contentType == ContentTypeBytes {
		*b = append([]byte{}, body...) // as its codec does, which takes longer to find out
		return v, nil
	}
	return unmarshal[T](contentType, body)
}

func unmarshal[T any](contentType string, body []byte) (T, error) {
	var v, zero T
	c, err := CodecFor(contentType)
	if err != nil {
		return zero, err
	}
	if err := c.Unmarshal(body, &v); err != nil {
		return zero, err
	}
	return v, nil
}

package rpc

import "time"

// Method names a method of a service and the types of its request and result. Both
// sides share it, so that neither can get them wrong:
//
//	var Fib = rpc.Method[int, uint64]{Service: "math", Name: "fib"}
type Method[Req, Res any] struct {
	Service     string
	Name        string
	ContentType string // of the request and the result; "" means ContentTypeJSON

	// Defaults for the calls of this method; those of a call win.

	Timeout    time.Duration // 0 means the client's
	AtMostOnce bool          // never send a call again once it may have been delivered
	Durable    bool          // the effect must happen even if the caller dies
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

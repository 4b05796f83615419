package rpc

import (
	"encoding/json"
	"errors"
)

// jsonCodec is encoding/json: it ignores unknown members, so that a newer peer may
// send more, and refuses trailing data. Of depth it refuses what could exhaust the
// stack, 10 000; what a request may have is a limit of its server.
type jsonCodec struct{}

func (jsonCodec) ContentType() string { return ContentTypeJSON }

func (c jsonCodec) Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, unencodable(c, v).WithCause(err)
	}
	return data, nil
}

func (c jsonCodec) Unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	// The texts of these errors quote the body: none is used, not even as a cause.
	if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
		return undecodable(c, v)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return Errorf(InvalidArgument, "malformed JSON at byte %d", e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Errorf(InvalidArgument, "JSON value at byte %d is not a valid %s", e.Offset, e.Type)
	}
	return Errorf(InvalidArgument, "JSON is not a valid %T", v)
}

package rpc

import (
	"encoding/json"
	"errors"
)

// jsonCodec is encoding/json behind a bound on depth. Like that it ignores unknown
// members, so that a newer peer may send more, and refuses trailing data.
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
	if tooDeep(data) {
		return Errorf(InvalidArgument, "JSON nested deeper than %d", MaxDepth)
	}
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

// tooDeep says whether data nests deeper than MaxDepth. It needs no valid JSON, and
// no memory: the decoder, which is recursive, is for what passes.
func tooDeep(data []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++ // the next one is escaped, maybe a quote
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

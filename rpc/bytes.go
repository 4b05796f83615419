package rpc

import "reflect"

// bytesCodec takes byte slices and strings, named or not, as they are.
type bytesCodec struct{}

func (bytesCodec) ContentType() string { return ContentTypeBytes }

func (c bytesCodec) Marshal(v any) ([]byte, error) {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid():
	case isBytes(r.Type()):
		return append([]byte{}, r.Bytes()...), nil
	case r.Kind() == reflect.String:
		return []byte(r.String()), nil
	}
	return nil, unencodable(c, v)
}

func (c bytesCodec) Unmarshal(data []byte, v any) error {
	r, ok := target[any](v)
	switch {
	case !ok:
	case isBytes(r.Type()):
		r.SetBytes(append([]byte{}, data...))
		return nil
	case r.Kind() == reflect.String:
		r.SetString(string(data))
		return nil
	}
	return undecodable(c, v)
}

// isBytes says whether t is a byte slice, named or not.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

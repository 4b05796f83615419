package rpc

import (
	"encoding"
	"errors"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// textCodec writes a value as UTF-8 text: strings and byte slices as they are,
// booleans as true and false, numbers in decimal, and what implements
// encoding.TextMarshaler as that says. Types count by their kind, so that a named
// string is a string. It trims nothing: " 1" is not a number.
type textCodec struct{}

func (textCodec) ContentType() string { return ContentTypeText }

func (c textCodec) Marshal(v any) ([]byte, error) {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer && !r.IsNil() && !isTextMarshaler(r) {
		r = r.Elem()
	}
	if !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil() {
		return nil, unencodable(c, v)
	}
	data, err := c.encode(r)
	if err != nil {
		return nil, unencodable(c, v).WithCause(err)
	}
	if !utf8.Valid(data) {
		return nil, Errorf(Internal, "%T is not valid UTF-8", v)
	}
	return data, nil
}

func (textCodec) encode(r reflect.Value) ([]byte, error) {
	switch {
	case isTextMarshaler(r):
		return r.Interface().(encoding.TextMarshaler).MarshalText()
	case isBytes(r.Type()):
		return append([]byte{}, r.Bytes()...), nil
	case r.Kind() == reflect.String:
		return []byte(r.String()), nil
	case r.Kind() == reflect.Bool:
		return strconv.AppendBool(nil, r.Bool()), nil
	case r.CanInt():
		return strconv.AppendInt(nil, r.Int(), 10), nil
	case r.CanUint():
		return strconv.AppendUint(nil, r.Uint(), 10), nil
	case r.CanFloat():
		return strconv.AppendFloat(nil, r.Float(), 'g', -1, r.Type().Bits()), nil
	}
	return nil, errors.ErrUnsupported
}

func isTextMarshaler(r reflect.Value) bool {
	return r.Type().Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

func (c textCodec) Unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return Errorf(InvalidArgument, "text is not valid UTF-8")
	}
	r, ok := target[encoding.TextUnmarshaler](v)
	if !ok {
		return undecodable(c, v)
	}
	if u, ok := r.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if u.UnmarshalText(data) != nil { // its text may quote the body
			return Errorf(InvalidArgument, "text is not a valid %s", r.Type())
		}
		return nil
	}
	return c.decode(string(data), r)
}

func (c textCodec) decode(s string, r reflect.Value) error {
	var err error
	switch {
	case isBytes(r.Type()):
		r.SetBytes([]byte(s))
	case r.Kind() == reflect.String:
		r.SetString(s)
	case r.Kind() == reflect.Bool:
		if s != "true" && s != "false" {
			err = strconv.ErrSyntax
		}
		r.SetBool(s == "true")
	case r.CanInt():
		var n int64
		n, err = strconv.ParseInt(s, 10, r.Type().Bits())
		r.SetInt(n)
	case r.CanUint():
		var n uint64
		n, err = strconv.ParseUint(s, 10, r.Type().Bits())
		r.SetUint(n)
	case r.CanFloat():
		var f float64
		f, err = strconv.ParseFloat(s, r.Type().Bits())
		r.SetFloat(f)
	default:
		return undecodable(c, r.Addr().Interface())
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return Errorf(InvalidArgument, "text is out of range for %s", r.Type())
	case err != nil:
		return Errorf(InvalidArgument, "text is not a valid %s", r.Type())
	}
	return nil
}

package rpc

import (
	"mime"
	"reflect"
	"strings"
)

// Content types with a codec.
const (
	ContentTypeJSON  = "application/json" // the default
	ContentTypeText  = "text/plain"
	ContentTypeBytes = "application/octet-stream"
	ContentTypeProto = "application/x-protobuf" // "application/protobuf" is the same
)

// Codec turns values into bodies and back. Its errors are of type *Error, with the
// codes that [Marshal] and [Unmarshal] document, and contain no part of the body.
type Codec interface {
	// ContentType is the content type of what Marshal returns.
	ContentType() string

	// Marshal returns the encoding of v. It shares no memory with v.
	Marshal(v any) ([]byte, error)

	// Unmarshal decodes data to what v points to. That shares no memory with data.
	// After an error it may be half filled.
	Unmarshal(data []byte, v any) error
}

// CodecFor returns the codec for a content type: one of the constants above, in
// any case, or "" for JSON. JSON and text may have the parameter charset=utf-8,
// which they are anyway.
//
// It returns Unimplemented for any other type or parameter, so that a caller can
// tell that another content type would do, and InvalidArgument for what is no
// content type at all.
func CodecFor(contentType string) (Codec, error) {
	if c := codecs[contentType]; c != nil {
		return c, nil
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, Errorf(InvalidArgument, "malformed content type %.100q", contentType)
	}
	c := codecs[mediaType]
	if c == nil {
		return nil, Errorf(Unimplemented, "no codec for content type %.100q", contentType)
	}
	for name, value := range params {
		text := c.ContentType() == ContentTypeJSON || c.ContentType() == ContentTypeText
		if !text || name != "charset" || !strings.EqualFold(value, "utf-8") {
			return nil, Errorf(Unimplemented, "unsupported parameter in content type %.100q", contentType)
		}
	}
	return c, nil
}

var codecs = map[string]Codec{
	"":                     jsonCodec{},
	ContentTypeJSON:        jsonCodec{},
	ContentTypeText:        textCodec{},
	ContentTypeBytes:       bytesCodec{},
	ContentTypeProto:       protoCodec{},
	"application/protobuf": protoCodec{},
}

// unencodable is the error of each codec for a value that it cannot express.
func unencodable(c Codec, v any) *Error {
	return Errorf(Internal, "cannot encode %T as %s", v, c.ContentType())
}

// undecodable is the error of each codec for a target that it cannot fill. v is
// the pointer that Unmarshal got.
func undecodable(c Codec, v any) *Error {
	return Errorf(Internal, "cannot decode %s to %T", c.ContentType(), v)
}

// target returns what v points to: through any further pointers, which it
// allocates where they are nil, up to the first that implements I or is no
// pointer. It returns false if v is not a pointer, or nil.
//
// A method of *pb.Req decodes to a **pb.Req: what the codec wants is one deeper.
func target[I any](v any) (reflect.Value, bool) {
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Pointer || r.IsNil() {
		return reflect.Value{}, false
	}
	i := reflect.TypeFor[I]()
	for r = r.Elem(); r.Kind() == reflect.Pointer; r = r.Elem() {
		if r.Addr().Type().Implements(i) && i.NumMethod() > 0 {
			return r, true
		}
		if r.IsNil() {
			r.Set(reflect.New(r.Type().Elem()))
		}
	}
	return r, true
}

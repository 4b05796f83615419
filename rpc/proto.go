package rpc

import (
	"reflect"

	"google.golang.org/protobuf/proto"
)

// maxProtoDepth is how deep messages may be nested. Only decoding them tells: no
// server can check it before.
const maxProtoDepth = 128

// protoCodec takes proto.Message. The encoding of a message is always the same, so
// that a caller that asks again after a restart is not taken for another.
type protoCodec struct{}

func (protoCodec) ContentType() string { return ContentTypeProto }

func (c protoCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if r := reflect.ValueOf(v); !ok || r.Kind() == reflect.Pointer && r.IsNil() {
		return nil, unencodable(c, v)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, unencodable(c, v).WithCause(err)
	}
	return data, nil
}

func (c protoCodec) Unmarshal(data []byte, v any) error {
	r, ok := target[proto.Message](v)
	if !ok {
		return undecodable(c, v)
	}
	m, ok := r.Addr().Interface().(proto.Message)
	if !ok {
		return undecodable(c, v)
	}
	if (proto.UnmarshalOptions{RecursionLimit: maxProtoDepth}).Unmarshal(data, m) != nil {
		return Errorf(InvalidArgument, "malformed protobuf for %s", m.ProtoReflect().Descriptor().FullName())
	}
	return nil
}

package server

import (
	"context"
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// maxSchema bounds each schema of a method, in bytes.
const maxSchema = 32 << 10

// describes returns what tells of a method. That is found out once, when somebody asks for it.
func describes[Req, Res any](m rpc.Method[Req, Res]) func() rpc.Description {
	return sync.OnceValue(func() rpc.Description {
		d := rpc.Description{Service: m.Service, Method: m.Name, Doc: m.Doc, ContentType: m.ContentType}
		if codec, err := rpc.CodecFor(m.ContentType); err == nil {
			d.ContentType = codec.ContentType()
		}
		if d.ContentType == rpc.ContentTypeJSON {
			d.Request, d.Result = schema(reflect.TypeFor[Req]()), schema(reflect.TypeFor[Res]())
		}
		return d
	})
}

// schema is the JSON Schema of a type, or nil if it has none that is small enough to send.
func schema(t reflect.Type) (text json.RawMessage) {
	defer func() {
		if recover() != nil { // the library panics for what has no JSON form, such as a channel
			text = nil
		}
	}()
	r := jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true, Namer: schemaName, Mapper: ownForm}
	text, err := json.Marshal(r.ReflectFromType(t))
	if err != nil || len(text) > maxSchema {
		return nil
	}
	return text
}

// schemaName tells types of several packages apart, in what a reference may hold.
func schemaName(t reflect.Type) string {
	if t.Name() == "" {
		return ""
	}
	return strings.ReplaceAll(t.String(), "/", ".")
}

// ownForm is the schema of a type that writes its JSON itself: only of text is it known what comes of that.
func ownForm(t reflect.Type) *jsonschema.Schema {
	implements := func(i reflect.Type) bool { return t.Implements(i) || reflect.PointerTo(t).Implements(i) }
	switch {
	case t == reflect.TypeFor[time.Time](), implements(reflect.TypeFor[interface{ JSONSchema() *jsonschema.Schema }]()):
		return nil // known
	case implements(reflect.TypeFor[json.Marshaler]()):
		return jsonschema.TrueSchema
	case implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return &jsonschema.Schema{Type: "string"}
	}
	return nil
}

// describe answers a caller that asks what a method takes and returns. It takes the way of a call, to one server of a
// service that this caller may call, and is neither stored nor counted as one.
func (s *Server) describe(ctx context.Context, j *job) *conn.Message {
	if denied := s.authorize(ctx, &j.call.Request); denied != nil {
		s.stats.rejected.Add(1)
		return s.encodeError(j, denied)
	}
	method, err := rpc.Unmarshal[string](j.call.ContentType, j.call.Body)
	if err != nil {
		return s.encodeError(j, undecodable(err))
	}
	if s.methods[method] == nil {
		return s.encodeError(j, s.noMethod(method))
	}
	d := rpc.Description{Service: s.service, Method: method}
	if known := s.schemas[method]; known != nil {
		d = known()
	}
	body, err := rpc.Marshal(rpc.ContentTypeJSON, d)
	if err != nil {
		return s.encodeError(j, prefixed("encode description", err))
	}
	return j.encode(&rpc.Reply{ContentType: rpc.ContentTypeJSON, Body: body, Server: s.opts.name})
}

func (s *Server) noMethod(name string) *rpc.Error {
	return rpc.Errorf(rpc.Unimplemented, "service %s has no method %s", s.service, name).WithExecuted(rpc.ExecutedNo)
}

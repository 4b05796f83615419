package server_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

type tree struct {
	Value    int     `json:"value"`
	Children []*tree `json:"children,omitempty"`
}

// huge has more fields than a schema may have bytes.
type (
	huge struct{ A, B, C, D, E, F, G, H wide }
	wide struct {
		A, B, C, D, E, F, G, H [1]struct{ A, B, C, D, E, F, G, H wider }
	}
	wider struct {
		A, B, C, D, E, F, G, H [1]struct {
			A, B, C, D, E, F, G, H [1]struct{ A, B, C, D, E, F, G, H time.Time }
		}
	}
)

// answering makes a handler for each type.
func answering[Req, Res any](s *server.Server, name, doc, contentType string) {
	m := rpc.Method[Req, Res]{Service: "math", Name: name, Doc: doc, ContentType: contentType}
	server.Handle(s, m, func(context.Context, Req) (res Res, err error) { return res, nil })
}

func TestDescribe(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.launch(r.conn, func(s *server.Server) {
			server.Handle(s, double, twice)
			answering[tree, *tree](s, "tree", "Prunes a tree.", "")
			answering[huge, int](s, "huge", "", "")
			answering[chan int, map[string]func()](s, "odd", "", "")
			answering[string, string](s, "text", "", rpc.ContentTypeText)
			answering[struct{ At time.Time }, rpc.Code](s, "times", "", "")
			answering[map[string]*rpc.Code, []json.RawMessage](s, "own", "", "")
			s.Handle("raw", func(context.Context, *rpc.Request) (*rpc.Reply, error) { return new(rpc.Reply), nil })
		})
		<-p.Ready()
		for _, c := range []struct {
			method          string
			request, result []string // each in the schema; none for no schema
		}{
			{"double", []string{`"type":"integer"`}, []string{`"type":"integer"`}},
			{"tree", []string{`"$ref":"#/$defs/server_test.tree"`, `"items":{"$ref":"#/$defs/server_test.tree"}`, `"required":["value"]`}, []string{"tree"}},
			{"huge", nil, []string{"integer"}},
			{"odd", nil, nil},
			{"text", nil, nil},
			{"times", []string{`"format":"date-time"`}, []string{`"type":"string"`}},
			{"own", []string{`{"type":"string"}`}, []string{`"items":true`}},
			{"raw", nil, nil},
		} {
			for range 2 { // the second time it is known
				d := r.describe(c.method)
				if d.Service != "math" || d.Method != c.method || c.method == "tree" && d.Doc != "Prunes a tree." {
					t.Errorf("%s: got %+v", c.method, d)
				}
				has(t, c.method+": request", d.Request, c.request)
				has(t, c.method+": result", d.Result, c.result)
			}
		}
		for _, body := range []string{`"nonesuch"`, `7`, `{`} {
			_, err := r.ask(r.request(body, asks))
			if want := map[string]rpc.Code{`"nonesuch"`: rpc.Unimplemented}[body]; want != 0 {
				check(t, err, want, rpc.ExecutedNo)
			} else {
				check(t, err, rpc.InvalidArgument, rpc.ExecutedNo)
			}
		}
		if got := p.Stats().Running + int64(p.Stats().Answered); got != 0 {
			t.Errorf("%d descriptions were counted as calls", got)
		}
	})
}

// Who may not call a service learns nothing of its methods.
func TestDescribeNotPermitted(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice, server.WithAuthorizer(func(context.Context, *rpc.Request) error {
			return rpc.Errorf(rpc.PermissionDenied, "not you")
		}))
		_, err := r.ask(r.request(`"double"`, asks))
		check(t, err, rpc.PermissionDenied, rpc.ExecutedNo)
	})
}

func asks(m *conn.Message) { m.Type = wire.Describe }

func (r *rig) describe(method string) (d rpc.Description) {
	r.t.Helper()
	body, _ := json.Marshal(method)
	reply, err := r.ask(r.request(string(body), asks))
	if err != nil {
		r.t.Fatalf("describe %s: %v", method, err)
	}
	if err := json.Unmarshal(reply.Body, &d); err != nil {
		r.t.Fatal(err)
	}
	return d
}

func has(t *testing.T, what string, schema json.RawMessage, parts []string) {
	t.Helper()
	if (len(schema) > 0) != (len(parts) > 0) {
		t.Errorf("%s: got schema %s, want %q in it", what, schema, parts)
	}
	for _, part := range parts {
		if !strings.Contains(string(schema), part) {
			t.Errorf("%s: no %s in %s", what, part, schema)
		}
	}
}

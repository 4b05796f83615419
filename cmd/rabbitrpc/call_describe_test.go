package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// What a server says of a method is text to be shown: it must not crash or occupy who asks, or be run by whose shell the example is
// copied into.
func TestHostileDescription(t *testing.T) {
	r := &rpc.Request{Service: "math", Method: "fib"}
	many := strings.Builder{}
	for i := range 100_000 {
		fmt.Fprintf(&many, `"%d":{"$ref":"#/$defs/A"},`, i)
	}
	const call = "\n  rabbitrpc call math fib "
	for name, tt := range map[string]struct {
		d    rpc.Description
		want string // the example
	}{
		"honest":         {rpc.Description{Service: "math", Method: "fib", Request: json.RawMessage(`{"type":"integer"}`)}, call + "'0'\n"},
		"another's name": {rpc.Description{Service: "math; rm x", Method: "$(rm x)", Request: json.RawMessage(`{"type":"integer"}`)}, call + "'0'\n"},
		"quotes":         {rpc.Description{Request: json.RawMessage(`{"type":"object","required":["'"],"properties":{"'":{"type":"string"}}}`)}, ""},
		"null for a schema": {rpc.Description{Request: json.RawMessage(`{"type":"object","required":["a"],"properties":{"a":null}}`)},
			call + `'{"a":null}'` + "\n"},
		"endless": {rpc.Description{Request: json.RawMessage(`{"$ref":"#/$defs/A","$defs":{"A":{"type":"array","items":{"$ref":"#/$defs/A"}}}}`)},
			call + "'[[null]]'\n"},
		"as large as a reply": {rpc.Description{Request: json.RawMessage(`{"$defs":{"A":{"type":"object","properties":{` +
			many.String() + `"a":true}}}}`)}, ""},
	} {
		got := description(r, &tt.d)
		if _, example, _ := strings.Cut(got, "\nexample:"); example != tt.want || !strings.HasPrefix(got, "math fib") {
			t.Errorf("%s: got the example %q, want %q; all: %.100q", name, example, tt.want, got)
		}
	}
}

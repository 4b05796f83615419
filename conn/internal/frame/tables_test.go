package frame

import (
	"fmt"
	"reflect"
	"testing"
)

// Headers that are the same are read once; others never pass for them.
func TestTablesAreShared(t *testing.T) {
	encode := func(h map[string]any) text { return text{rest: string(appendTable(nil, h)) + "rest"} }
	var known tables
	read := func(h map[string]any) map[string]any {
		t.Helper()
		c := encode(h)
		got := known.read(&c)
		if c.bad || c.rest != "rest" || !reflect.DeepEqual(got, h) {
			t.Fatalf("got %v, rest %q, want %v", got, c.rest, h)
		}
		return got
	}
	same := func(a, b map[string]any) bool { return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() }
	for i := range int64(100) {
		h := map[string]any{"a": i}
		first := read(h)
		if again := read(h); !same(first, again) {
			t.Errorf("%v was read twice", h)
		}
		if other := read(map[string]any{"a": i, "b": "x"}); same(first, other) {
			t.Errorf("%v was shared with %v", first, other)
		}
	}
	for name, h := range map[string]map[string]any{
		"none": {}, "a list": {"a": []any{int64(1)}}, "bytes": {"a": []byte("x")}, "long": {"a": fmt.Sprintf("%300d", 1)},
	} {
		if same(read(h), read(h)) {
			t.Errorf("%s was shared", name)
		}
	}
	for _, bad := range []string{"", "\x00", "\x00\x00\x00\x05\x01a", "\x00\x00\x00\x02\x01a"} {
		c := text{rest: bad}
		if known.read(&c); !c.bad {
			t.Errorf("%q was taken", bad)
		}
	}
}

package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

func nest(open, end string, n int) string {
	return strings.Repeat(open, n) + "0" + strings.Repeat(end, n)
}

func TestDepth(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       bool // deeper than 128
	}{
		{"arrays at the bound", nest("[", "]", 128), false},
		{"arrays past it", nest("[", "]", 129), true},
		{"objects at the bound", nest(`{"a":`, "}", 128), false},
		{"objects past it", nest(`{"a":`, "}", 129), true},
		{"side by side", "[" + strings.Repeat("[],", 1000) + "[]]", false},
		{"in a string", `"` + strings.Repeat("[", 1000) + `"`, false},
		{"in the name of a member", `{"` + strings.Repeat("[", 1000) + `":0}`, false},
		{"after an escaped quote", `"\"` + strings.Repeat("[", 1000) + `"`, false},
		{"after an escaped backslash", `["\\",` + nest("[", "]", 128) + `]`, true},
		{"after two escaped backslashes", `["\\\\",` + nest("[", "]", 128) + `]`, true},
		{"after an escaped backslash and quote", `["\\\"",` + nest("[", "]", 128) + `]`, true},
		{"after an empty string", `["",` + nest("[", "]", 128) + `]`, true},
		{"no JSON: never closed", strings.Repeat("[", 10_000), true},
		{"no JSON: more closed than opened", strings.Repeat("]", 1000) + nest("[", "]", 129), true},
		{"no JSON: a string without an end", `["` + strings.Repeat("[", 1000), false},
		{"no JSON: a string that ends in an escape", `"\`, false},
		{"nothing", "", false},
	} {
		if got := wire.Deeper([]byte(c.body), 128); got != c.want {
			t.Errorf("%s: deeper than 128 %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDepthNeedsNoMemory(t *testing.T) {
	body := []byte(`{"a":["b\\\"",[` + strings.Repeat("[],", 1000) + `1]]}`)
	if n := testing.AllocsPerRun(10, func() { wire.Deeper(body, 128) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// depthOf is the depth of JSON that is valid, as the decoder of the standard library sees it.
func depthOf(body []byte) (most int) {
	depth := 0
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		token, err := d.Token()
		if err != nil {
			return most
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		most = max(most, depth)
	}
}

func FuzzDepth(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"b",null]}`, `[[["\"]"]]]`, `["\\",[[]]]`, `{"[":{"]":[]}}`, `]]][[[`, `"\`, "\xff", ""} {
		f.Add([]byte(seed), uint8(2))
	}
	f.Fuzz(func(t *testing.T, body []byte, most uint8) {
		got := wire.Deeper(body, int(most))
		if got && bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) <= int(most) {
			t.Errorf("%q has not so many brackets", body)
		}
		if json.Valid(body) && got != (depthOf(body) > int(most)) {
			t.Errorf("%q is %d deep, deeper than %d: %v", body, depthOf(body), most, got)
		}
	})
}

func BenchmarkDepth(b *testing.B) {
	for name, body := range map[string][]byte{
		"objects":    objects(1 << 10),
		"numbers":    []byte("[" + strings.Repeat("123456.789,", 6000) + "0]"),
		"one string": []byte(`"` + strings.Repeat("x", 64<<10) + `"`),
		"escapes":    []byte(`"` + strings.Repeat(`\"`, 32<<10) + `"`),
		"brackets":   []byte(strings.Repeat("[]", 32<<10)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				wire.Deeper(body, 128)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)*1024/float64(len(body)), "ns/KB")
		})
	}
}

// objects is JSON as it is in most requests.
func objects(n int) []byte {
	var b bytes.Buffer
	b.WriteString("[")
	for i := range n {
		fmt.Fprintf(&b, `{"id":%d,"name":"customer %d","tags":["a","b"],"at":{"lat":1.5,"lon":2.5}},`, i, i)
	}
	b.WriteString("0]")
	return b.Bytes()
}

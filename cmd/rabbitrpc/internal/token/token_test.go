package token_test

import (
	"net/http/httptest"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/token"
)

func TestCheck(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "x": false, "0123456789abcde": false, "0123456789abcdef": true,
		"0123456789abcdef ": false, "\t0123456789abcdef": false, "0123456789\x00abcdef": false, "0123456789 abcdef": true, // no header has these
	} {
		if err := token.Check(text); (err == nil) != good {
			t.Errorf("%q: got %v, want good %v", text, err, good)
		}
	}
}

func TestOf(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "Bearer": "", "Bearer ": "", "Bearer a": "a", "bEARER  a ": "a", "Basic a": "", "a": "", "Bearera": "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		if got := token.Of(r); got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, pair := range []struct {
		a, b string
		same bool
	}{{"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"", "a", false}, {"", "", true}} {
		if got := token.Same(pair.a, pair.b); got != pair.same {
			t.Errorf("%q, %q: got %v, want %v", pair.a, pair.b, got, pair.same)
		}
	}
}

package idempotency_test

import (
	"encoding/hex"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestKeyOf(t *testing.T) {
	req := &rpc.Request{User: "u", Client: "c", Service: "s", Method: "m", ID: "1", Attempt: 2, Body: []byte("b")}
	want := idempotency.Key{User: "u", Client: "c", Service: "s", Method: "m", ID: "1"}
	if got := idempotency.KeyOf(req); got != want {
		t.Errorf("KeyOf = %+v, want %+v", got, want)
	}
}

func TestKeyBytes(t *testing.T) {
	// Stores keep these: they never change.
	got := hex.EncodeToString(idempotency.Key{User: "u", Method: "mm", ID: "1"}.Bytes())
	if want := "01750000026d6d0131"; got != want {
		t.Errorf("Bytes = %s, want %s", got, want)
	}
	seen := map[string]idempotency.Key{}
	for _, k := range []idempotency.Key{
		{User: "ab"}, {Client: "ab"}, {User: "a", Client: "b"}, {User: "a", Service: "b"},
		{User: "a\x01b"}, {User: "a", Client: "\x01b"}, {User: "\x00"}, {},
	} {
		if other, ok := seen[string(k.Bytes())]; ok {
			t.Errorf("%+v and %+v have the same bytes", k, other)
		}
		seen[string(k.Bytes())] = k
	}
}

func TestFingerprintOf(t *testing.T) {
	base := idempotency.FingerprintOf(&rpc.Request{ContentType: "ab", Body: []byte("c")})
	// Stores keep these: they never change.
	const want = "290a3daa9b49526a2ed7352cd7f5e69c551a01e15de61fc04c43f780d7172b71"
	if got := hex.EncodeToString(base[:]); got != want {
		t.Errorf("fingerprint = %s, want %s", got, want)
	}
	tests := []struct {
		name string
		req  *rpc.Request
		same bool
	}{
		{"another attempt", &rpc.Request{ContentType: "ab", Body: []byte("c"), ID: "1", Attempt: 2, Header: rpc.Header{"a": "b"}}, true},
		{"another body", &rpc.Request{ContentType: "ab", Body: []byte("d")}, false},
		{"another type", &rpc.Request{ContentType: "aB", Body: []byte("c")}, false},
		{"another border", &rpc.Request{ContentType: "a", Body: []byte("bc")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := idempotency.FingerprintOf(tt.req) == base; got != tt.same {
				t.Errorf("same = %t, want %t", got, tt.same)
			}
		})
	}
}

package rpc_test

import (
	"encoding/json"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func TestCode(t *testing.T) {
	// The names and numbers are on the wire: this table never changes.
	tests := []struct {
		code      rpc.Code
		number    uint8
		name      string
		retryable bool
	}{
		{rpc.OK, 0, "ok", false},
		{rpc.Canceled, 1, "canceled", false},
		{rpc.Unknown, 2, "unknown", false},
		{rpc.InvalidArgument, 3, "invalid_argument", false},
		{rpc.DeadlineExceeded, 4, "deadline_exceeded", false},
		{rpc.NotFound, 5, "not_found", false},
		{rpc.AlreadyExists, 6, "already_exists", false},
		{rpc.PermissionDenied, 7, "permission_denied", false},
		{rpc.ResourceExhausted, 8, "resource_exhausted", true},
		{rpc.FailedPrecondition, 9, "failed_precondition", false},
		{rpc.Aborted, 10, "aborted", true},
		{rpc.OutOfRange, 11, "out_of_range", false},
		{rpc.Unimplemented, 12, "unimplemented", false},
		{rpc.Internal, 13, "internal", false},
		{rpc.Unavailable, 14, "unavailable", true},
		{rpc.DataLoss, 15, "data_loss", false},
		{rpc.Unauthenticated, 16, "unauthenticated", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := uint8(tt.code); got != tt.number {
				t.Errorf("number = %d, want %d", got, tt.number)
			}
			if got := tt.code.String(); got != tt.name {
				t.Errorf("String() = %q, want %q", got, tt.name)
			}
			if got, ok := rpc.ParseCode(tt.name); got != tt.code || !ok {
				t.Errorf("ParseCode(%q) = %v, %t, want %v, true", tt.name, got, ok, tt.code)
			}
			if got := tt.code.Retryable(); got != tt.retryable {
				t.Errorf("Retryable() = %t, want %t", got, tt.retryable)
			}
		})
	}
}

func TestParseCodeUnknown(t *testing.T) {
	for _, name := range []string{"", "OK", "cancelled", "INVALID_ARGUMENT", "code_17", "14"} {
		if got, ok := rpc.ParseCode(name); got != rpc.Unknown || ok {
			t.Errorf("ParseCode(%q) = %v, %t, want unknown, false", name, got, ok)
		}
	}
}

func TestCodeAsText(t *testing.T) {
	data, err := json.Marshal(rpc.NotFound)
	if got, want := string(data), `"not_found"`; got != want || err != nil {
		t.Errorf("marshal = %s, %v, want %s", got, err, want)
	}
	if data, err := rpc.Code(17).MarshalText(); err == nil {
		t.Errorf("marshal of 17 = %s, want an error", data)
	}
	code := rpc.NotFound
	if err := json.Unmarshal([]byte(`"aborted"`), &code); err != nil || code != rpc.Aborted {
		t.Errorf("unmarshal = %v, %v, want aborted", code, err)
	}
	if err := json.Unmarshal([]byte(`"nonsense"`), &code); err == nil || code != rpc.Aborted {
		t.Errorf("unmarshal of nonsense = %v, %v, want aborted as before and an error", code, err)
	}
}

func FuzzParseCode(f *testing.F) {
	f.Add("not_found")
	f.Add("code_17")
	f.Fuzz(func(t *testing.T, name string) {
		if code, ok := rpc.ParseCode(name); ok && code.String() != name {
			t.Errorf("ParseCode(%q) = %v", name, code)
		}
	})
}

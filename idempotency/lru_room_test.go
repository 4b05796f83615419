package idempotency

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Tenants that come and go leave nothing behind.
func TestLRUForgetsTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLRU(WithTenantShare(0.5))
		if err != nil {
			t.Fatal(err)
		}
		begin := func(n int) Token {
			begun, err := l.Begin(t.Context(), Key{Client: fmt.Sprint(n), ID: "1"}, Fingerprint{})
			if err != nil || begun.State != New {
				t.Fatalf("Begin(%d) = state %d, %v, want it new", n, begun.State, err)
			}
			return begun.Token
		}
		for n := range 100 {
			if err := l.Complete(t.Context(), begin(n), &Record{Reply: &rpc.Reply{}}); err != nil {
				t.Fatal(err)
			}
		}
		if len(l.tenants) != 100 {
			t.Errorf("%d tenants, want 100", len(l.tenants))
		}
		time.Sleep(time.Hour)
		if err := l.Abandon(t.Context(), begin(0)); err != nil {
			t.Fatal(err)
		}
		if got := l.Stats(); got.Entries != 0 || got.Bytes != 0 || len(l.tenants) != 0 {
			t.Errorf("stats = %+v with %d tenants, want nothing left", got, len(l.tenants))
		}
	})
}

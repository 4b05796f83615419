package idempotency_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// By default 50 000 small calls a second are not refused, which is half a million within the minimum age; and what
// they take of memory is what is counted, about, and below the bound.
func TestLRUMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 200 MiB")
	}
	const calls = 500_000
	l := newLRU(t)
	before := heap()
	for n := range calls {
		// Each string has memory of its own, as in requests from a broker.
		key := idempotency.Key{
			User: strings.Clone("guest"), Client: fmt.Sprintf("billing-%04d", n%1000),
			Service: strings.Clone("math"), Method: strings.Clone("fib"), ID: fmt.Sprintf("%036x", n),
		}
		begun, err := l.Begin(t.Context(), key, idempotency.Fingerprint{})
		if err != nil || begun.State != idempotency.New {
			t.Fatalf("Begin of call %d = state %d, %v, want it new", n, begun.State, err)
		}
		names := "application/json math-1" + strings.Repeat(" ", 1000) // that are parts of something else
		record := &idempotency.Record{Reply: &rpc.Reply{ContentType: names[:16], Body: make([]byte, 16), Server: names[17:23]}}
		if err := l.Complete(t.Context(), begun.Token, record); err != nil {
			t.Fatal(err)
		}
	}
	taken, counted := heap()-before, l.Stats().Bytes
	t.Logf("%d bytes a call, %d counted", taken/calls, counted/calls)
	if taken > counted || counted > taken*5/4 {
		t.Errorf("%d bytes of memory taken and %d counted, want that, or up to a quarter more", taken, counted)
	}
	if taken > 256<<20 {
		t.Errorf("%d bytes of memory taken, want 256 MiB at most", taken)
	}
}

func heap() int {
	runtime.GC()
	runtime.GC() // for what the first has found to finalize
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

package table_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/telemetry/internal/table"
)

// Each key has one value, whoever adds it first, and there are no more keys than may be.
func TestTable(t *testing.T) {
	const keys, most = 20, 10
	var tab table.Table[int, atomic.Int64]
	var made atomic.Int64
	var none atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for k := range keys {
				if v := tab.Add(k, most, func() *atomic.Int64 { made.Add(1); return new(atomic.Int64) }); v != nil {
					v.Add(1)
				} else {
					none.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := len(tab.All()); n != most || made.Load() != most {
		t.Errorf("%d keys, %d values were made, want %d", n, made.Load(), most)
	}
	if none.Load() != 8*(keys-most) {
		t.Errorf("%d were told that there is no room, want %d", none.Load(), 8*(keys-most))
	}
	for k, v := range tab.All() {
		if v.Load() != 8 || tab.Get(k) != v {
			t.Errorf("%d was counted %d times, want 8", k, v.Load())
		}
	}
	if tab.Get(keys) != nil {
		t.Error("got a value that nobody has added")
	}
}

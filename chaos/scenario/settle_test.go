package scenario

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/bank"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// The ledger of a server of the user's is read to its end, and never for ever.
func TestReadLedger(t *testing.T) {
	after := func(all []int64, n int) func(int64) (bank.Entries, error) {
		return func(seq int64) (page bank.Entries, _ error) {
			for _, e := range all {
				if e > seq && len(page.Entries) < n {
					page.Entries = append(page.Entries, bank.Entry{Seq: e})
				}
			}
			return page, nil
		}
	}
	for _, tt := range []struct {
		name string
		page func(int64) (bank.Entries, error)
		read int    // entries
		want string // in the error
	}{
		{"none", after(nil, 2), 0, ""},
		{"pages", after([]int64{1, 2, 5, 9, 10}, 2), 5, ""},
		{"the same page again", func(int64) (bank.Entries, error) { return after([]int64{1, 2}, 2)(0) }, 2, "entry 1 came after entry 2"},
		{"out of order", after([]int64{1, 3, 2}, 3), 2, "entry 2 came after entry 3"},
		{"twice", after([]int64{1, 1}, 2), 1, "entry 1 came after entry 1"},
		{"no numbers", func(int64) (bank.Entries, error) { return bank.Entries{Entries: make([]bank.Entry, 3)}, nil }, 0, "entry 0 came after entry 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := history.Create(filepath.Join(t.TempDir(), "history.jsonl"), history.Run{})
			if err != nil {
				t.Fatal(err)
			}
			err = (&run{history: w}).readLedger(tt.page)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
			h, err := w.Close()
			if err != nil || len(h.Entries) != tt.read || !slices.IsSortedFunc(h.Entries, func(a, b history.Entry) int { return int(a.Seq - b.Seq) }) {
				t.Errorf("got %v, %v, want %d entries in order", h.Entries, err, tt.read)
			}
		})
	}
}

// A call that never ends does not keep the run from its end.
func TestDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &run{load: new(load)}
		var callers sync.WaitGroup
		end := make(chan struct{})
		for _, id := range []string{"b", "a"} {
			r.load.attempts.Store(id, new(atomic.Int64))
			callers.Go(func() {
				<-end
				r.load.attempts.Delete(id)
			})
		}
		if err := r.drained(&callers, time.Minute); err == nil || !strings.HasSuffix(err.Error(), "not ended after 1m0s, long beyond their deadlines: a, b") {
			t.Errorf("got %v, want an error that names both calls", err)
		}
		close(end)
		if err := r.drained(&callers, time.Minute); err != nil {
			t.Errorf("got %v when all have ended, want none", err)
		}
	})
}

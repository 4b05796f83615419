package idempotency

import (
	"fmt"
	"testing"
)

// Keys with one hash are different calls all the same.
func TestIndexCollisions(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			x := newIndex()
			const hash = 7 // of all
			var entries []*entry
			for n := range order {
				key := fmt.Append(nil, n)
				if e := x.get(key, hash); e != nil {
					t.Fatalf("get(%d) = %+v, want none", n, e)
				}
				entries = append(entries, newEntry(key, hash, Fingerprint{}))
				x.put(entries[n])
			}
			for removed, n := range order {
				x.remove(entries[n])
				for i, m := range order {
					got := x.get(entries[m].key, hash)
					if want := i > removed; (got == entries[m]) != want || !want && got != nil {
						t.Errorf("after %d removed: get(%d) = %+v, want it there: %t", removed+1, m, got, want)
					}
				}
			}
			if len(x.m) != 0 {
				t.Errorf("%d hashes left", len(x.m))
			}
		})
	}
}

package idempotency_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/storetest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func newLRU(t testing.TB, options ...idempotency.LRUOption) *idempotency.LRU {
	t.Helper()
	l, err := idempotency.NewLRU(options...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLRUIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) idempotency.Store { return newLRU(t) })
}

func TestNewLRURefuses(t *testing.T) {
	tests := []struct {
		name    string
		options []idempotency.LRUOption
	}{
		{"no entries", []idempotency.LRUOption{idempotency.WithEntries(0)}},
		{"no bytes", []idempotency.LRUOption{idempotency.WithBytes(0)}},
		{"no age", []idempotency.LRUOption{idempotency.WithMinAge(0), idempotency.WithMaxAge(0)}},
		{"negative minimum", []idempotency.LRUOption{idempotency.WithMinAge(-1)}},
		{"minimum over maximum", []idempotency.LRUOption{idempotency.WithMinAge(2), idempotency.WithMaxAge(1)}},
		{"no share", []idempotency.LRUOption{idempotency.WithTenantShare(0)}},
		{"share over all", []idempotency.LRUOption{idempotency.WithTenantShare(1.01)}},
		{"no number", []idempotency.LRUOption{idempotency.WithTenantShare(math.NaN())}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if l, err := idempotency.NewLRU(tt.options...); err == nil {
				t.Errorf("NewLRU = %v, want an error", l)
			}
		})
	}
}

// lru drives an LRU with numbers for calls.
type lru struct {
	*idempotency.LRU
	t   *testing.T
	key idempotency.Key // of all calls, but for the ID
}

func (l lru) begin(n int) (idempotency.Begun, error) {
	l.key.ID = fmt.Sprint(n)
	return l.Begin(l.t.Context(), l.key, idempotency.Fingerprint{})
}

func (l lru) want(n int, want idempotency.State) idempotency.Token {
	l.t.Helper()
	begun, err := l.begin(n)
	if err != nil || begun.State != want {
		l.t.Fatalf("Begin(%d) = state %d, %v, want state %d", n, begun.State, err, want)
	}
	return begun.Token
}

func (l lru) complete(token idempotency.Token, size int) {
	l.t.Helper()
	record := &idempotency.Record{Reply: &rpc.Reply{Body: make([]byte, size)}}
	if err := l.Complete(l.t.Context(), token, record); err != nil {
		l.t.Fatal(err)
	}
}

// run runs a new call that answers size bytes.
func (l lru) run(n, size int) {
	l.t.Helper()
	l.complete(l.want(n, idempotency.New), size)
}

func (l lru) wantShed(n int, retryAfter time.Duration) {
	l.t.Helper()
	begun, err := l.begin(n)
	if rpc.CodeOf(err) != rpc.ResourceExhausted || rpc.Executed(err) != rpc.ExecutedNo {
		l.t.Fatalf("Begin(%d) = state %d, %v, want resource_exhausted, not executed", n, begun.State, err)
	}
	if got := err.(*rpc.Error).RetryAfter; got != retryAfter {
		l.t.Errorf("RetryAfter = %v, want %v", got, retryAfter)
	}
}

// wantCounters compares the statistics, but for what is as of now.
func (l lru) wantCounters(want idempotency.Stats) {
	l.t.Helper()
	got := l.Stats()
	want.Entries, want.Bytes = got.Entries, got.Bytes
	if got != want {
		l.t.Errorf("stats = %+v, want %+v", got, want)
	}
}

// virtual runs f with an LRU and a clock that moves only when f sleeps.
func virtual(t *testing.T, f func(l lru), options ...idempotency.LRUOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(lru{LRU: newLRU(t, options...), t: t}) })
}

func TestLRUForgetsAtMaxAge(t *testing.T) {
	virtual(t, func(l lru) {
		l.run(1, 0)
		time.Sleep(time.Minute - time.Nanosecond)
		l.want(1, idempotency.Done) // and used again
		time.Sleep(time.Minute - time.Nanosecond)
		l.want(1, idempotency.Done)
		time.Sleep(time.Minute)
		l.want(1, idempotency.New)
		time.Sleep(time.Hour)
		l.want(1, idempotency.InFlight) // however long it runs
	}, idempotency.WithMaxAge(time.Minute))
}

func TestLRUEvictsLeastRecentlyUsed(t *testing.T) {
	virtual(t, func(l lru) {
		l.run(1, 0)
		l.run(2, 0)
		l.want(1, idempotency.Done)
		l.run(3, 0)
		l.want(1, idempotency.Done)
		l.want(3, idempotency.Done)
		l.want(2, idempotency.New)
	}, idempotency.WithEntries(2), idempotency.WithMinAge(0))
}

func TestLRUKeepsTheYoung(t *testing.T) {
	virtual(t, func(l lru) {
		l.run(1, 0)
		time.Sleep(time.Second)
		l.run(2, 0)
		l.wantShed(3, 9*time.Second)
		l.want(1, idempotency.Done) // young again
		l.wantShed(3, 10*time.Second)
		time.Sleep(10*time.Second - time.Nanosecond)
		l.wantShed(3, time.Nanosecond)
		time.Sleep(time.Nanosecond)
		l.run(3, 0)
		if got := l.Stats(); got.EvictedForRoom != 1 || got.ShedForRoom != 3 {
			t.Errorf("stats = %+v, want 1 eviction, 3 shed", got)
		}
	}, idempotency.WithEntries(2))
}

func TestLRUKeepsWhatRuns(t *testing.T) {
	virtual(t, func(l lru) {
		first := l.want(1, idempotency.New)
		l.want(2, idempotency.New)
		time.Sleep(time.Hour)
		l.wantShed(3, 100*time.Millisecond)
		l.complete(first, 0)
		l.want(3, idempotency.New) // in place of 1, which need not be kept
		l.wantShed(1, 100*time.Millisecond)
	}, idempotency.WithEntries(2), idempotency.WithMinAge(0))
}

func TestLRUBoundsBytes(t *testing.T) {
	virtual(t, func(l lru) {
		for n := range 3 {
			l.run(n, 20_000)
		}
		large := l.want(3, idempotency.New)
		l.complete(large, 100_000) // never refused
		l.wantShed(4, 10*time.Second)
		time.Sleep(10 * time.Second)
		l.run(5, 50_000)
		if got := l.Stats(); got.Bytes > 100_000 || got.Entries != 1 {
			t.Errorf("stats = %+v, want at most 100 000 bytes, 1 entry", got)
		}
		time.Sleep(10 * time.Second)
		l.run(6, 60_000) // with 5 too much: room is made when it completes
		if got := l.Stats(); got.Bytes > 100_000 || got.Entries != 1 {
			t.Errorf("stats = %+v, want at most 100 000 bytes, 1 entry", got)
		}
	}, idempotency.WithBytes(100_000))
}

func TestLRUStats(t *testing.T) {
	virtual(t, func(l lru) {
		token := l.want(1, idempotency.New)
		l.want(1, idempotency.InFlight)
		running := l.Stats().Bytes
		if running < 100 {
			t.Errorf("bytes = %d while a call runs, want some", running)
		}
		record := &idempotency.Record{Err: rpc.Errorf(rpc.NotFound, "%s", strings.Repeat("x", 1000)).WithDetails(strings.Repeat("x", 998))}
		if err := l.Complete(t.Context(), token, record); err != nil {
			t.Fatal(err)
		}
		l.want(1, idempotency.Done)
		l.want(1, idempotency.Done)
		for range 3 {
			if begun, err := l.Begin(t.Context(), token.Key, idempotency.Fingerprint{1}); err != nil || begun.State != idempotency.Mismatch {
				t.Fatalf("Begin = state %d, %v, want a mismatch", begun.State, err)
			}
		}
		want := idempotency.Stats{Entries: 1, Bytes: running + 2000, New: 1, InFlight: 1, Done: 2, Mismatch: 3}
		if got := l.Stats(); got != want {
			t.Errorf("stats = %+v, want %+v", got, want)
		}

		for _, late := range []error{l.Complete(t.Context(), token, record), l.Abandon(t.Context(), token)} {
			if !errors.Is(late, idempotency.ErrLost) {
				t.Errorf("end of a claim that has ended: %v, want ErrLost", late)
			}
		}
		if err := l.Abandon(t.Context(), l.want(2, idempotency.New)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		l.want(3, idempotency.New)
		want.Bytes = running
		want.New += 2
		want.EvictedForAge, want.Lost = 1, 2
		if got := l.Stats(); got != want {
			t.Errorf("stats = %+v, want %+v", got, want)
		}
	})
}

func TestLRUSurvivesNothing(t *testing.T) {
	storetest.RunCrash(t, storetest.Crash{
		Survives: storetest.Nothing,
		Open:     func(string) (idempotency.Store, error) { return idempotency.NewLRU() },
	})
}

func BenchmarkLRU(b *testing.B) {
	l := newLRU(b, idempotency.WithMinAge(0))
	record := &idempotency.Record{Reply: &rpc.Reply{ContentType: "application/json", Body: []byte("832040"), Server: "math-1"}}
	ids := make([]string, 1<<20)
	for i := range ids {
		ids[i] = fmt.Sprintf("%032x", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := idempotency.Key{User: "guest", Client: "billing", Service: "math", Method: "fib", ID: ids[i%len(ids)]}
		begun, err := l.Begin(b.Context(), key, idempotency.Fingerprint{})
		if err != nil || begun.State != idempotency.New {
			b.Fatal(begun.State, err)
		}
		if err := l.Complete(b.Context(), begun.Token, record); err != nil {
			b.Fatal(err)
		}
	}
}

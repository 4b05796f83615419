package bolt

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// virtual runs f with a clock that moves only when f sleeps.
func virtual(t *testing.T, f func(s store), options ...Option) {
	t.Helper()
	path := newFile(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, options...)
		defer s.close()
		f(s)
	})
}

func (s store) wantShed(n int, retryAfter time.Duration) {
	s.t.Helper()
	begun, err := s.Begin(s.t.Context(), key(n), fingerprint)
	if rpc.CodeOf(err) != rpc.ResourceExhausted || rpc.Executed(err) != rpc.ExecutedNo {
		s.t.Fatalf("Begin(%d) = state %d, %v, want resource_exhausted, not executed", n, begun.State, err)
	}
	if got := err.(*rpc.Error).RetryAfter; got != retryAfter {
		s.t.Errorf("RetryAfter = %v, want %v", got, retryAfter)
	}
}

func TestForgetsAtMaxAge(t *testing.T) {
	virtual(t, func(s store) {
		running := s.want(2, idempotency.New).Token
		s.run(1)
		time.Sleep(24*time.Hour - time.Nanosecond)
		s.wantReply(1)
		time.Sleep(time.Nanosecond)
		s.run(1)
		s.want(2, idempotency.InFlight) // however long it runs
		s.complete(2, running)
		s.wantReply(2)
		if got := s.Stats(); got.Evictions != 1 || got.Entries != 2 {
			s.t.Errorf("stats = %+v, want 1 eviction, 2 entries", got)
		}
	})
}

// What nobody asks for goes with the commits of others, a few at a time.
func TestSweeps(t *testing.T) {
	virtual(t, func(s store) {
		for n := range 100 {
			s.run(n)
		}
		time.Sleep(24 * time.Hour)
		s.run(1000)
		if got := s.Stats().Entries; got < 50 || got > 90 {
			s.t.Errorf("%d entries after one call, want a part of 100 gone", got)
		}
		for n := range 9 {
			s.run(1001 + n)
		}
		if got := s.Stats(); got.Entries != 10 || got.Evictions != 100 {
			s.t.Errorf("stats = %+v, want 10 entries, 100 evictions", got)
		}
	})
}

func TestOrphansAgeOut(t *testing.T) {
	path := newFile(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		s.want(1, idempotency.New)
		s.want(2, idempotency.New)
		time.Sleep(48 * time.Hour)
		s.close()
		for range 2 { // a second crash makes them no younger
			s = open(t, path)
			time.Sleep(12*time.Hour - time.Nanosecond)
			s.close()
		}
		s = open(t, path)
		s.want(1, idempotency.Orphaned)
		time.Sleep(time.Hour)
		s.want(2, idempotency.New) // nobody knows any more
		s.want(1, idempotency.InFlight)
		s.close()
	})
}

func TestEvictsTheOldest(t *testing.T) {
	virtual(t, func(s store) {
		for n := range 3 {
			s.run(n)
			time.Sleep(time.Second)
		}
		s.wantReply(0) // being asked for makes it no younger
		s.run(3)
		s.want(0, idempotency.New)
		s.wantReply(2)
		if got := s.Stats().Entries; got != 3 {
			s.t.Errorf("entries = %d, want 3", got)
		}
	}, WithEntries(3), WithMinAge(0))
}

func TestKeepsTheYoung(t *testing.T) {
	virtual(t, func(s store) {
		s.run(1)
		time.Sleep(time.Second)
		s.run(2)
		s.wantShed(3, 59*time.Second)
		s.wantReply(1)
		time.Sleep(59*time.Second - time.Nanosecond)
		s.wantShed(3, time.Nanosecond)
		time.Sleep(time.Nanosecond)
		s.run(3)
		if got := s.Stats(); got.Evictions != 1 || got.Shed != 2 || got.Entries != 2 {
			s.t.Errorf("stats = %+v, want 1 eviction, 2 shed, 2 entries", got)
		}
	}, WithEntries(2))
}

func TestKeepsWhatRuns(t *testing.T) {
	virtual(t, func(s store) {
		first := s.want(1, idempotency.New).Token
		s.want(2, idempotency.New)
		time.Sleep(48 * time.Hour)
		s.wantShed(3, askAgainAfter)
		s.complete(1, first)
		s.want(3, idempotency.New) // in place of 1, which need not be kept
		s.wantShed(1, askAgainAfter)
		s.want(2, idempotency.InFlight)
	}, WithEntries(2), WithMinAge(0))
}

// The bound may be lower than it was when the file was written.
func TestGetsBelowALowerBound(t *testing.T) {
	path := newFile(t)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		for n := range 50 {
			s.run(n)
		}
		s.close()
		s = open(t, path, WithEntries(10), WithMinAge(0))
		for n := range 5 {
			s.run(100 + n)
		}
		if got := s.Stats().Entries; got != 10 {
			s.t.Errorf("entries = %d, want 10", got)
		}
		s.wantReply(104)
		s.close()
	})
}

// When the clock was set back before Open, ages go on from the youngest in the file: nothing is kept for longer, or for less long.
func TestClockSetBack(t *testing.T) {
	path := newFile(t)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		s := open(t, path, WithEntries(2))
		s.run(1)
		time.Sleep(time.Second)
		s.run(2)
		s.close()
	})
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, WithEntries(2))
		s.wantReply(1)
		s.wantShed(3, 59*time.Second)
		time.Sleep(59 * time.Second)
		s.run(3)
		s.wantShed(1, time.Second)
		s.wantReply(2)
		time.Sleep(24*time.Hour - 59*time.Second)
		s.want(2, idempotency.New)
		s.close()
	})
}

func TestBoundsBytes(t *testing.T) {
	const bound = 2 << 20
	virtual(t, func(s store) {
		large := func(n int, token idempotency.Token) {
			s.t.Helper()
			record := &idempotency.Record{Reply: &rpc.Reply{Body: bytes.Repeat([]byte("x"), 100_000)}}
			if err := s.Complete(s.t.Context(), token, record); err != nil {
				s.t.Fatal(err)
			}
		}
		for n := range 80 {
			large(n, s.want(n, idempotency.New).Token)
			time.Sleep(time.Second)
			if got := s.Stats().Bytes; got > bound {
				s.t.Fatalf("%d bytes in use after %d calls, want at most %d", got, n, bound)
			}
		}
		s.want(70, idempotency.Done)
		if got := s.Stats().Entries; got < 8 {
			s.t.Errorf("%d entries, want as many as there is room for", got)
		}
		var tokens []idempotency.Token
		for n := range 25 {
			tokens = append(tokens, s.want(1000+n, idempotency.New).Token)
		}
		for n, token := range tokens {
			large(n, token) // never refused
		}
		s.wantShed(2000, time.Second) // the oldest is 9 s old
		s.want(1000, idempotency.Done)
		time.Sleep(10 * time.Second)
		s.wantShed(2000, askAgainAfter) // room is being made, a little with each group
		for n := 0; s.Stats().Bytes > bound && n < 5; n++ {
			_, _ = s.Begin(s.t.Context(), key(2000), fingerprint)
		}
		s.run(2001)
		if got := s.Stats().Bytes; got > bound {
			s.t.Errorf("%d bytes in use, want at most %d", got, bound)
		}
	}, WithBytes(bound), WithMinAge(10*time.Second))
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options []Option
	}{
		{"no entries", []Option{WithEntries(0)}},
		{"no bytes", []Option{WithBytes(0)}},
		{"no age", []Option{WithMinAge(0), WithMaxAge(0)}},
		{"negative minimum", []Option{WithMinAge(-1)}},
		{"minimum over maximum", []Option{WithMinAge(2), WithMaxAge(1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := Open(newFile(t), tt.options...); err == nil {
				_ = s.Close()
				t.Error("Open = nil, want an error")
			}
		})
	}
}

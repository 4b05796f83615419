package storetest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

func testConcurrent(t *testing.T, s store) {
	const n = 20
	var (
		mu     sync.Mutex // guards states
		states = map[idempotency.State]int{}
		wg     sync.WaitGroup
	)
	for range n {
		wg.Go(func() {
			begun, err := s.Begin(t.Context(), key, fingerprint)
			if err != nil {
				t.Errorf("Begin: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			states[begun.State]++
		})
	}
	wg.Wait()
	if states[idempotency.New] != 1 || states[idempotency.InFlight] != n-1 {
		t.Errorf("states = %v, want one new and the others in flight", states)
	}
}

// Others ask again and again while a call is completed: they are told that it is in flight, then that it is done.
func testDoneWhileOthersBegin(t *testing.T, s store) {
	for i := range 10 {
		k := numbered(i)
		begun := s.begin(t, k, fingerprint, idempotency.New)
		var asked, wg sync.WaitGroup
		for range 4 {
			asked.Add(1)
			wg.Go(func() {
				for n := 0; n == 0 || !t.Failed(); n++ {
					begun, err := s.Begin(t.Context(), k, fingerprint)
					if n == 0 {
						asked.Done()
					}
					switch {
					case err != nil:
						t.Errorf("Begin: %v", err)
						return
					case begun.State == idempotency.Done:
						if got := string(begun.Record.Reply.Body); got != "x" {
							t.Errorf("reply = %q, want x", got)
						}
						begun.Record.Reply.Body[0] = 'y' // the race detector sees it if it is shared
						return
					case begun.State != idempotency.InFlight:
						t.Errorf("Begin = state %d, want in flight or done", begun.State)
						return
					}
				}
			})
		}
		asked.Wait()
		if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
			t.Errorf("Complete: %v", err) // and the others give up
			_ = s.Abandon(t.Context(), begun.Token)
		}
		wg.Wait()
	}
}

// watched is a call that several holders try to get done, and what must hold of it at each moment.
type watched struct {
	key     idempotency.Key
	holders atomic.Int32
	done    atomic.Pointer[string] // the reply, once it is completed
}

func testManyKeys(t *testing.T, s store) {
	const holders = 8
	calls := make([]*watched, 20)
	for i := range calls {
		calls[i] = &watched{key: numbered(i)}
	}
	var wg sync.WaitGroup
	for holder := range holders {
		wg.Go(func() {
			// Each holder asks for each call until it is done, and goes through them in an order of its own.
			for _, i := range rand.Perm(len(calls)) {
				for !calls[i].try(t, s, holder) {
					if t.Failed() {
						return
					}
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
}

// try begins the call, and completes or abandons it if it is new. It returns whether the call is done.
func (w *watched) try(t *testing.T, s store, holder int) bool {
	before := w.done.Load()
	begun, err := s.Begin(t.Context(), w.key, fingerprint)
	if err != nil {
		t.Errorf("Begin: %v", err)
		return true
	}
	switch begun.State {
	case idempotency.InFlight:
		if before != nil {
			t.Error("a call that was done is in flight")
		}
		return false
	case idempotency.Done:
		got := string(begun.Record.Reply.Body)
		if before != nil && got != *before {
			t.Errorf("reply = %q, and it was %q", got, *before)
		}
		return true
	case idempotency.New:
		w.hold(t, s, holder, begun.Token)
		return false
	}
	t.Errorf("Begin = state %d", begun.State)
	return true
}

// hold ends a claim, one time in two with a record.
func (w *watched) hold(t *testing.T, s store, holder int, token idempotency.Token) {
	if w.done.Load() != nil {
		t.Error("a call that was done is new")
	}
	if n := w.holders.Add(1); n != 1 {
		t.Errorf("%d holders of one call", n)
	}
	time.Sleep(time.Microsecond) // the others have their turn, for certain
	w.holders.Add(-1)            // before the claim ends, since then another may get it
	if rand.N(2) == 0 {
		if err := s.Abandon(t.Context(), token); err != nil {
			t.Errorf("Abandon: %v", err)
		}
		return
	}
	body := fmt.Sprintf("by holder %d", holder)
	if err := s.Complete(t.Context(), token, reply(body)); err != nil {
		t.Errorf("Complete: %v", err)
		return
	}
	w.done.Store(&body)
}

package idempotency

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type name struct{}
		call, cancel := context.WithCancel(context.WithValue(t.Context(), name{}, "value"))
		cancel()
		g := &grace{call: call}
		derived, cancel := context.WithCancel(g)
		defer cancel()
		if got := g.Value(name{}); got != "value" || derived.Err() != nil {
			t.Errorf("value = %v, error = %v, want the value of a call that is over, and no error", got, derived.Err())
		}
		if by, ok := g.Deadline(); !ok || time.Until(by) != settleTimeout {
			t.Errorf("deadline = %v, %t, want it in %v", by, ok, settleTimeout)
		}
		start := time.Now()
		<-derived.Done()
		if got := time.Since(start); got != settleTimeout || g.Err() != context.DeadlineExceeded {
			t.Errorf("lasted %v and ended with %v, want %v and a deadline exceeded", got, g.Err(), settleTimeout)
		}
		g.end()
	})
}

func TestGraceEnds(t *testing.T) {
	used, unused := &grace{call: t.Context()}, &grace{call: t.Context()}
	derived, cancel := context.WithCancel(used)
	defer cancel()
	for _, g := range []*grace{used, unused} {
		g.end()
		select {
		case <-g.Done():
		default:
			t.Error("goes on after its end")
		}
		if g.Err() == nil {
			t.Error("no error after its end")
		}
		g.end() // does nothing
	}
	<-derived.Done()
}

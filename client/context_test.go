package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestCallContext compares the context of a call with what package context would make.
func TestCallContext(t *testing.T) {
	const timeout = time.Second
	cause := errors.New("cause")
	for _, tt := range []struct {
		name   string
		parent func() (context.Context, func()) // and what ends it
		wait   time.Duration
		end    bool // of the call
	}{
		{"under way", background, timeout - 1, false},
		{"deadline", background, timeout, false},
		{"call over", background, 0, true},
		{"call over after the deadline", background, timeout, true},
		{"caller canceled", func() (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(context.Background())
			return ctx, func() { cancel(cause) }
		}, 0, false},
		{"caller's deadline", func() (context.Context, func()) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout/2)
			return ctx, func() { time.Sleep(timeout / 2); _ = cancel }
		}, 0, false},
		{"caller's later deadline", func() (context.Context, func()) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
			return ctx, func() { _ = cancel }
		}, timeout, false},
	} {
		for _, asked := range []string{"not", "before", "after"} {
			t.Run(tt.name+", done asked for "+asked, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, endParent := tt.parent()
					want, cancel := context.WithTimeout(parent, timeout)
					defer cancel()
					got := withTimeout(parent, timeout)
					defer got.end()
					if asked == "before" {
						got.Done()
					}
					endParent()
					time.Sleep(tt.wait)
					synctest.Wait()
					if tt.end {
						got.Err() // the clock tells of the deadline when it is read
						cancel()
						got.end()
					}
					compare(t, got, want, asked == "after")
				})
			})
		}
	}
}

func background() (context.Context, func()) { return context.Background(), func() {} }

func compare(t *testing.T, got, want context.Context, done bool) {
	t.Helper()
	g, _ := got.Deadline()
	if w, _ := want.Deadline(); !g.Equal(w) {
		t.Errorf("got deadline %v, want %v", g, w)
	}
	if got.Err() != want.Err() || context.Cause(got) != context.Cause(want) {
		t.Errorf("got %v because of %v, want %v because of %v", got.Err(), context.Cause(got), want.Err(), context.Cause(want))
	}
	if done && closed(got) != closed(want) {
		t.Errorf("done: got %v, want %v", closed(got), closed(want))
	}
	if got.Err() != want.Err() {
		t.Errorf("got %v then, want %v", got.Err(), want.Err())
	}
}

func closed(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// A context that is made from that of a call ends with it, without a goroutine that waits for that.
func TestCallContextChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := withTimeout(context.WithValue(context.Background(), optionsKey{}, 1), time.Second)
		child, cancel := context.WithCancel(context.WithValue(own, requestKey{}, 2))
		defer cancel()
		if own.Value(optionsKey{}) != 1 || child.Value(optionsKey{}) != 1 || child.Value(requestKey{}) != 2 {
			t.Error("values of the caller are lost")
		}
		ended := make(chan struct{})
		context.AfterFunc(child, func() { close(ended) })
		own.end()
		<-ended // a deadlock if not
		if child.Err() != context.Canceled {
			t.Errorf("got %v, want %v", child.Err(), context.Canceled)
		}
	})
}

// A deadline need not come from this process's monotonic clock. What is left of it is counted by that all the same, as timers do.
func TestCallContextMonotonic(t *testing.T) {
	parent, cancel := context.WithDeadline(context.Background(), time.Now().Add(time.Minute).UTC())
	defer cancel()
	want, _ := parent.Deadline()
	if got := withTimeout(parent, time.Hour).deadline; !got.Equal(want) || got == got.Round(0) {
		t.Errorf("got %v, want %v with a monotonic reading", got, want)
	}
}

type requestKey struct{}

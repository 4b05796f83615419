package client

import (
	"context"
	"testing"
	"time"
)

// A deadline need not come from this process's monotonic clock. What is left of it is counted by that all the same, as timers do.
func TestCallContextMonotonic(t *testing.T) {
	parent, cancel := context.WithDeadline(context.Background(), time.Now().Add(time.Minute).UTC())
	defer cancel()
	want, _ := parent.Deadline()
	if got := withTimeout(parent, time.Hour).At(); !got.Equal(want) || got == got.Round(0) {
		t.Errorf("got %v, want %v with a monotonic reading", got, want)
	}
}

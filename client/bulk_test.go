package client

import (
	"testing"
	"time"
)

// Calls that were many stay so while they become faster by it, but not when they are fewer. The longer they take, the longer is a wait.
func TestBulkEnds(t *testing.T) {
	var b bulk
	for i, step := range []struct {
		took     time.Duration
		inFlight int
		gather   int // milliseconds
	}{
		{4500 * time.Microsecond, 256, 0},
		{7 * time.Millisecond, 256, 1},
		{4500 * time.Microsecond, 256, 1},
		{3 * time.Millisecond, 256, 0},
		{4500 * time.Microsecond, 256, 0},
		{7 * time.Millisecond, 256, 1},
		{16 * time.Millisecond, 512, 3},
		{70 * time.Millisecond, 2048, 4},
		{7 * time.Millisecond, 32, 0},
	} {
		var got time.Duration
		for range 1000 { // the mean follows
			got = b.ended(step.took, step.inFlight)
		}
		if want := time.Duration(step.gather) * time.Millisecond; got != want {
			t.Errorf("step %d: got %v, want %v", i, got, want)
		}
	}
}

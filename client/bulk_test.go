package client

import (
	"testing"
	"time"
)

// Calls that were many stay so while they become faster by it, but not when they are fewer.
func TestBulkEnds(t *testing.T) {
	var b bulk
	for i, step := range []struct {
		took     time.Duration
		inFlight int
		many     bool
	}{
		{4500 * time.Microsecond, 256, false},
		{7 * time.Millisecond, 256, true},
		{4500 * time.Microsecond, 256, true},
		{3 * time.Millisecond, 256, false},
		{4500 * time.Microsecond, 256, false},
		{7 * time.Millisecond, 256, true},
		{7 * time.Millisecond, 32, false},
	} {
		many := false
		for range 1000 { // the mean follows
			many = b.ended(step.took, step.inFlight)
		}
		if many != step.many {
			t.Errorf("step %d: got %v, want %v", i, many, step.many)
		}
	}
}

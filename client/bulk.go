package client

import (
	"cmp"
	"sync/atomic"
	"time"
)

// bulk tells whether so many calls are in flight that one more millisecond, here and there, is lost in what each takes anyway.
// Then the session does more at once, and servers are told that they may.
//
// By Little's law calls in flight, over the time that each takes, is how many end in a millisecond: fewer than these cannot be
// gathered.
type bulk struct {
	took atomic.Int64 // what a call takes: a moving average
	on   atomic.Bool
}

const (
	bulkFrom  = 5 * time.Millisecond // that calls take on average
	bulkUntil = 4 * time.Millisecond // more than gathering adds to calls that take no time
	bulkRate  = 8                    // calls in each millisecond
	bulkFor   = 10 * time.Millisecond
)

// ended takes note of the end of an attempt that was answered, with so many in flight, and reports whether calls are in bulk.
func (b *bulk) ended(took time.Duration, inFlight int) bool {
	mean := cmp.Or(b.took.Load(), int64(took))
	mean += (int64(took) - mean) / 64
	b.took.Store(mean) // that others do the same meanwhile does not matter
	on, least := b.on.Load(), int64(bulkFrom)
	if on {
		least = int64(bulkUntil)
	}
	many := mean >= least && int64(inFlight)*int64(time.Millisecond) >= bulkRate*mean
	if many != on {
		b.on.Store(many)
	}
	return many
}

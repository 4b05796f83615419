package client

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// bulk tells whether so many calls are in flight that a few milliseconds more are lost in what each takes anyway. Then the
// session does more at once, and servers are told that they may.
//
// By Little's law calls in flight, over the time that each takes, is how many end in a millisecond: fewer than these cannot be
// gathered.
type bulk struct {
	took   atomic.Int64 // what a call takes: a moving average
	gather atomic.Int64 // how long what comes waits for more; 0 while there is no bulk
}

const (
	bulkFrom  = 5 * time.Millisecond // that calls take on average
	bulkUntil = 4 * time.Millisecond // more than gathering adds to calls that take no time
	bulkRate  = 8                    // calls in each millisecond
	bulkFor   = 10 * time.Millisecond
	bulkPart  = 5 // of what a call takes is one wait, of which there are two or three
)

// ended takes note of the end of an attempt that was answered, with so many in flight, and returns how long what comes may wait for
// more.
func (b *bulk) ended(took time.Duration, inFlight int) time.Duration {
	mean := cmp.Or(b.took.Load(), int64(took))
	mean += (int64(took) - mean) / 64
	b.took.Store(mean) // that others do the same meanwhile does not matter
	before, least := time.Duration(b.gather.Load()), int64(bulkFrom)
	if before > 0 {
		least = int64(bulkUntil)
	}
	var gather time.Duration
	if mean >= least && int64(inFlight)*int64(time.Millisecond) >= bulkRate*mean {
		gather = min(max(time.Millisecond, (time.Duration(mean)/bulkPart).Round(time.Millisecond)), wire.MaxGather)
	}
	if gather != before {
		b.gather.Store(int64(gather))
	}
	return gather
}

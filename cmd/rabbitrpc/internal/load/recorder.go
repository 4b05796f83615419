package load

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept in nanoseconds, with three digits, from a microsecond on.
const (
	least  = int64(time.Microsecond)
	most   = int64(10 * time.Minute)
	digits = 3
)

const shards = 16 // of a recorder: callers must not wait for each other

// A recorder collects what callers measure.
type recorder struct {
	shards [shards]shard
	missed uint64
}

type shard struct {
	mu     sync.Mutex // guards what follows
	took   *hdrhistogram.Histogram
	failed uint64
	first  error
}

func newRecorder() *recorder {
	r := new(recorder)
	for i := range r.shards {
		r.shards[i].took = hdrhistogram.New(least, most, digits)
	}
	return r
}

// record adds a call. One that failed counts as such only: how soon an error comes says nothing of how long a call takes.
func (r *recorder) record(caller int, took time.Duration, err error) {
	s := &r.shards[caller%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed++
		if s.first == nil {
			s.first = err
		}
		return
	}
	s.took.RecordValue(min(int64(took), most)) // in range, so there is no error
}

func (r *recorder) fail(err error) { r.record(0, 0, err) }

func (r *recorder) result(elapsed time.Duration) *Result {
	all := &Result{Elapsed: elapsed, Missed: r.missed, took: hdrhistogram.New(least, most, digits)}
	for i := range r.shards {
		s := &r.shards[i]
		all.took.Merge(s.took)
		all.Failed += s.failed
		if s.first != nil && all.Failure == "" {
			all.Failure = s.first.Error()
		}
	}
	return all
}

// A Result is what became of the calls. It can be sent as JSON.
type Result struct {
	Elapsed time.Duration // until the last call had ended
	Failed  uint64        // calls that ended with an error
	Failure string        // of one of them
	Missed  uint64        // calls that were too late to begin

	Encoded []byte // of took, for the way as JSON: see [Result.Pack]
	took    *hdrhistogram.Histogram
}

// Pack makes the result ready to be sent.
func (r *Result) Pack() (err error) {
	r.Encoded, err = r.took.EncodeV2()
	return err
}

// Unpack is the other end of [Result.Pack].
func (r *Result) Unpack() (err error) {
	if r.took, err = hdrhistogram.Decode(r.Encoded); err != nil {
		return fmt.Errorf("decode latencies: %w", err)
	}
	return nil
}

// OK returns how many calls were answered.
func (r *Result) OK() uint64 { return uint64(r.took.TotalCount()) }

// PerSecond returns how many calls a second were answered.
func (r *Result) PerSecond() float64 { return float64(r.OK()) / r.Elapsed.Seconds() }

// Percentile returns the time within which that many percent of the calls were answered, to three digits; 0 if none was.
func (r *Result) Percentile(percent float64) time.Duration {
	if r.took.TotalCount() == 0 {
		return 0
	}
	return time.Duration(r.took.ValueAtPercentile(percent))
}

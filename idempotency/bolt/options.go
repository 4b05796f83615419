package bolt

import "time"

// Option changes a default of Open.
type Option func(*Store)

// WithEntries bounds the number of calls, running and recorded. Default 1 000 000. Beyond it the oldest outcome is
// forgotten for each new call, or, if that is younger than the minimum age, the call is refused with
// resource_exhausted, ExecutedNo.
func WithEntries(n int) Option { return func(s *Store) { s.entries = n } }

// WithBytes bounds the part of the file that is in use. Default 1 GiB. From nine tenths on the oldest outcomes are
// forgotten, down to the minimum age; beyond it new calls are refused as with [WithEntries]. The outcomes of those
// that are running then may exceed it. The file itself may become about twice as large, by what is free in it, and
// shrinks in Open only.
func WithBytes(n int64) Option { return func(s *Store) { s.bytes = n } }

// WithMinAge sets how long an outcome is kept at least. Default 1 min.
func WithMinAge(d time.Duration) Option { return func(s *Store) { s.minAge = d } }

// WithMaxAge sets how long an outcome is kept at most. Default 24 h. Ages count from completion; that of a call which
// was running at a crash from the Open after it. A call that runs is never forgotten. Setting the clock while the file is open
// changes no age; one that was set back before Open has the time in between not count.
func WithMaxAge(d time.Duration) Option { return func(s *Store) { s.maxAge = d } }

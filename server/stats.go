package server

import "sync/atomic"

// Stats is what a server has counted.
type Stats struct {
	Received   uint64 // requests, each delivery counted
	Answered   uint64 // with a reply
	Replayed   uint64 // of those, from the store
	Failed     uint64 // with an error of the handler, or of an interceptor
	Refused    uint64 // of those, over WithAdaptiveLimit or WithTenantLimit
	Rejected   uint64 // out of bounds, or for no method: answered with an error
	Dropped    uint64 // without an address that may be answered
	Expired    uint64 // not started, since the caller had given up
	Unroutable uint64 // replies that nobody took: mostly, the caller was gone
	Rerouted   uint64 // replies that another node of the broker has taken, since the server's own did not know the caller's queue
	Panics     uint64
	Overdue    uint64 // handlers that did not end within a second after their deadline
	Parked     uint64 // requests that are not to be run again
	Running    int64  // handlers, now
	Stuck      int64  // requests that are overdue and keep their workers, now
	Limit      int    // of those, now: WithWorkers, or less by WithAdaptiveLimit
	Workers    int    // WithWorkers
	Serving    bool   // it takes requests, now
	Draining   bool   // Run is to end, and waits for the requests that workers are at
}

type stats struct {
	received, answered, replayed, failed, refused, rejected, dropped, expired, unroutable, rerouted, panics, overdue, parked atomic.Uint64
	running, stuck                                                                                                           atomic.Int64
}

func (s *stats) snapshot() Stats {
	return Stats{
		Received: s.received.Load(), Answered: s.answered.Load(), Replayed: s.replayed.Load(), Failed: s.failed.Load(),
		Refused: s.refused.Load(), Rejected: s.rejected.Load(), Dropped: s.dropped.Load(), Expired: s.expired.Load(),
		Unroutable: s.unroutable.Load(), Rerouted: s.rerouted.Load(), Panics: s.panics.Load(),
		Overdue: s.overdue.Load(), Parked: s.parked.Load(), Running: s.running.Load(), Stuck: s.stuck.Load(),
	}
}

package client

import "sync/atomic"

// Stats is what a client has counted.
type Stats struct {
	Calls   uint64 // started
	OK      uint64 // ended with a reply
	Failed  uint64 // ended with an error
	Resent  uint64 // attempts beyond the first of their call
	Bounced uint64 // attempts that came back because no server or no queue had room, or a server died
	Late    uint64 // replies to no call in flight: duplicates, those that came too late, and made-up ones
	Forged  uint64 // replies of the wrong user

	InFlight int // calls, now
	Limit    int // of those: WithMaxInFlight
}

type stats struct{ calls, ok, failed, resent, bounced, late, forged atomic.Uint64 }

func (s *stats) snapshot() Stats {
	return Stats{
		Calls: s.calls.Load(), OK: s.ok.Load(), Failed: s.failed.Load(), Resent: s.resent.Load(),
		Bounced: s.bounced.Load(), Late: s.late.Load(), Forged: s.forged.Load(),
	}
}

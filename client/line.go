package client

import "time"

const (
	silentFor = 2 * time.Second // that nothing may come back of a first ping; it doubles
	maxSilent = 3               // pings of which nothing comes back
)

// A line is what the client knows of a channel that requests to a service take, in this session.
type line struct {
	heard  time.Time // something came back
	silent bool      // maybe nothing does: that is to be found out before the next request
	pings  int       // of which nothing came back
}

func (s *service) line(durable bool) *line {
	if durable {
		return &s.stored
	}
	return &s.direct
}

// hear takes note of something that has come back.
func (s *services) hear(svc *service, durable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*svc.line(durable) = line{heard: time.Now()}
}

// miss takes note of a request, made at start, that had no answer in all its time. If nor had any other since, maybe none has.
func (s *services) miss(svc *service, durable bool, start time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := svc.line(durable)
	if l.silent = l.heard.Before(start); l.silent && l.pings == maxSilent { // nor did what was sent after the pings: maybe it is the broker
		l.pings = 0
	}
}

// silence returns how long to wait for the answer to a ping that is to show whether anything comes back; 0, if that is
// not in question.
func (s *services) silence(svc *service, durable bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := svc.line(durable)
	if l.pings == maxSilent { // it is not the broker: the servers may not answer, or not in time
		l.silent = false
	}
	if !l.silent {
		return 0
	}
	l.pings++
	return silentFor << (l.pings - 1)
}

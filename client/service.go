package client

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// A presence is what the client knows of who serves a queue.
type presence uint8

const (
	unknown presence = iota
	present
	busy    // present, but with no room a moment ago
	absent  // nobody consumes the queue
	missing // there is no such queue
	denied  // the broker lets this client not publish to it
)

// String returns the presence in lower case.
func (p presence) String() string {
	return [...]string{"unknown", "present", "busy", "absent", "missing", "denied"}[p]
}

const (
	maxServices = 1024                   // that a client remembers
	absentFor   = 50 * time.Millisecond  // that it takes nobody's being there for granted
	absentGrace = 150 * time.Millisecond // that servers who were there a moment ago may stay unseen, before they are taken for gone
	busyFor     = time.Second            // that calls to busy servers wait in their queue, without trying them directly
	deniedFor   = 5 * time.Second        // that it does not try again: each refusal costs all calls their session
	leaderGone  = time.Second            // after which a request that bounces may have waited for a new leader of a quorum queue
	leaderGrace = 2 * time.Second        // that the new leader may take to find its consumers
	returnGrace = 20 * time.Second       // that servers may take to come back after their broker did: their own backoff ends at 15s
)

// services is what the client knows of each service.
type services struct {
	mu       sync.Mutex // guards the fields of the services too
	named    *lru.Cache[string, *service]
	last     atomic.Pointer[service]      // that was called; that it is the newest in named stays true without being said again
	announce func(queue, presence string) // may be nil
	sessions int                          // so far
}

// A service is one that the client has called.
type service struct {
	name    string
	queue   string // where the requests to it are
	breaker *breaker
	budget  *budget
	spend   func() bool // see plan
	back    func() bool

	state  presence
	at     time.Time     // since when
	seen   time.Time     // when somebody was there, as a look or an answer has shown
	backBy time.Time     // it was served a moment ago, or before the session was lost, or its queue had no leader: until then nobody means not yet
	denial error         // by the broker, while denied
	took   time.Duration // what a call takes, without waiting in the queue: a moving average
	direct line
	stored line // of durable calls

	exchangeIn conn.Session // that its exchange was found in
	missed     time.Time    // when it was looked for in vain
	blind      bool         // the broker lets this client not look at its queue, in this session
	sessions   int          // when it was last brought up to date
}

func newServices(announce func(queue, presence string)) *services {
	named, err := lru.New[string, *service](maxServices)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &services{named: named, announce: announce}
}

// get returns the service of a name. One that was not called for long may have been forgotten.
func (s *services) get(name string, make func() *service) *service {
	if svc := s.last.Load(); svc != nil && svc.name == name {
		return svc
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	svc, ok := s.named.Get(name)
	if !ok {
		svc = make()
		svc.sessions = s.sessions
		s.named.Add(name, svc)
	}
	s.last.Store(svc)
	return svc
}

// known returns what is known of a service and still good, and the denial of one that is denied. Of the calls to busy servers one
// is let through now and then, to find out whether they are still there, and whether there is room again. That servers were
// there a while ago is not good enough for a call that is made once: it would wait for others until its deadline. One that is durable
// does so anyway.
func (s *services) known(svc *service, durable, once bool) (_ presence, denial error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconnect(svc) // one that was forgotten while calls of it are out was not told
	switch {
	case svc.line(durable).silent && svc.state != denied:
		return unknown, nil
	case once && !durable && svc.served():
		if time.Since(svc.seen) >= absentFor {
			return unknown, nil
		}
		return svc.state, nil
	case svc.state == present:
		return present, nil
	}
	age := time.Since(svc.at)
	switch {
	case svc.state == busy && age >= busyFor:
		svc.at = time.Now()
		return unknown, nil
	case svc.state == denied && age < deniedFor:
		return denied, svc.denial
	case svc.state >= absent && age >= absentFor:
		return unknown, nil
	}
	return svc.state, nil
}

// note takes note of what an attempt in a mode, from start to ended, has shown of a service.
func (s *services) note(svc *service, p *plan, mode wire.Mode, e event, start, ended time.Time) {
	direct := e.answered() && mode == wire.Direct
	switch {
	case direct:
		s.room(svc, p.queue, start, ended)
	case e.heard():
		s.hear(svc, p.durable)
	case e.kind == over && e.out, e.kind == unheard:
		s.miss(svc, p.durable, start)
	}
	switch {
	case e.answered() && !direct:
		s.learn(svc, p.queue, present)
	case e.kind == forbidden:
		if s.deny(svc, p.queue, e.cause); errors.Is(e.cause, conn.ErrNotFound) {
			s.doubt(svc, returnGrace) // the exchange was there: its servers declare it again
		}
	case e.kind == returned:
		s.learn(svc, p.queue, missing)
	case e.kind == unheard:
		s.doubt(svc, returnGrace)
	case e.kind == full:
		s.learn(svc, p.queue, busy)
	case e.kind == bounced:
		if s.learn(svc, p.queue, busy); ended.Sub(start) >= leaderGone { // or one died: a look will tell
			s.doubt(svc, leaderGrace)
		}
	}
}

// learn takes note of what an attempt or a look has shown. That nobody consumes a queue which was served a moment ago is not
// believed at once: the broker says so too while a quorum queue goes from one leader to the next.
func (s *services) learn(svc *service, queue string, p presence) {
	s.mu.Lock()
	if p == present {
		svc.seen = time.Now()
	}
	if p == present && svc.state == busy { // that somebody is there does not show that there is room
		s.mu.Unlock()
		return
	}
	if p == absent && svc.served() {
		svc.expect(absentGrace)
	}
	s.set(svc, queue, p, nil)
}

// room takes note of the reply, which came now, to a direct attempt that was made at start.
func (s *services) room(svc *service, queue string, start, now time.Time) {
	s.mu.Lock()
	svc.direct, svc.seen = line{heard: now}, now
	svc.took += (now.Sub(start) - svc.took) / 8
	if svc.state == present || svc.state == busy && !start.After(svc.at) {
		s.mu.Unlock()
		return
	}
	s.set(svc, queue, present, nil)
}

// set is called with the mutex locked, and unlocks it. The denial is that of who is denied.
func (s *services) set(svc *service, queue string, p presence, denial error) {
	old := svc.shown()
	svc.state, svc.at, svc.denial = p, time.Now(), denial
	shown := svc.shown()
	s.mu.Unlock()
	if old != shown && s.announce != nil {
		s.announce(queue, shown.String())
	}
}

// shown is the state for people: an exchange that is not there is denied as one without the right is, and missing to them.
func (svc *service) shown() presence {
	if svc.state == denied && errors.Is(svc.denial, conn.ErrNotFound) {
		return missing
	}
	return svc.state
}

// patience is how long a request may wait in the queue, with left until the deadline: a server that took it later could
// only answer too late. When all servers are busy that is what they would do all the time.
func (s *services) patience(svc *service, left time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return left - min(left/2, 2*svc.took)
}

// usual is what a call takes without waiting in the queue; 0 if that is not known.
func (s *services) usual(svc *service) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return svc.took
}

// deny takes note of a refusal.
func (s *services) deny(svc *service, queue string, refusal error) {
	s.mu.Lock()
	s.set(svc, queue, denied, refusal)
}

// blind reports whether the broker has refused a look at the queue of a service.
func (s *services) blind(svc *service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return svc.blind
}

func (s *services) setBlind(svc *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	svc.blind = true
}

// served reports whether somebody was there when the client last heard of a service.
func (s *services) served(svc *service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return svc.served()
}

func (svc *service) served() bool { return svc.state == present || svc.state == busy }

// returning reports whether a service that nobody serves is expected back.
func (s *services) returning(svc *service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(svc.backBy)
}

// doubt takes note of a request that bounced late, or of which nobody was heard: its queue may be a quorum queue whose leader has
// just become that, and servers may have lost their broker. For a while nobody means not yet.
func (s *services) doubt(svc *service, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	svc.expect(grace)
}

// expect is called with the mutex locked.
func (svc *service) expect(grace time.Duration) {
	if until := time.Now().Add(grace); until.After(svc.backBy) {
		svc.backBy = until
	}
}

// reconnected starts over in a new session. What was served before will be again, once its servers are back.
func (s *services) reconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	for _, svc := range s.named.Values() {
		s.reconnect(svc)
	}
}

// reconnect is called with the mutex locked.
func (s *services) reconnect(svc *service) {
	if svc.sessions == s.sessions {
		return
	}
	svc.sessions = s.sessions
	svc.exchangeIn, svc.blind = nil, false // a session that is over is not to be kept
	switch svc.state {
	case denied:
		return // that is why there is a new session
	case present, busy:
		svc.backBy = time.Now().Add(returnGrace)
		svc.direct, svc.stored = line{silent: true}, line{silent: true}
	default:
		svc.direct, svc.stored = line{}, line{}
	}
	svc.state = unknown
}

// A ServiceState is what a client knows of a service.
type ServiceState struct {
	Queue    string // where the requests to it are
	Presence string // unknown, present, busy, absent, missing or denied
	Breaker  string // closed, half-open or open; "" without one
}

// Services returns what the client knows of the services that it has called, the one called last first.
func (c *Client) Services() []ServiceState {
	states, breakers := c.services.states()
	for i, b := range breakers {
		if b != nil {
			states[i].Breaker = b.state()
		}
	}
	return states
}

func (s *services) states() (states []ServiceState, breakers []*breaker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, svc := range slices.Backward(s.named.Values()) {
		states = append(states, ServiceState{Queue: svc.queue, Presence: svc.shown().String()})
		breakers = append(breakers, svc.breaker)
	}
	return states, breakers
}

package server

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// WithAdaptiveLimit lets the server find out how many requests it does best at a time: between least, which is 1 or more, and
// the workers. It begins with these. While it is busy it tries fewer now and then, and stays with fewer if as much gets done. A
// request over the limit is refused at once: resource_exhausted, ExecutedNo, and when to try again.
//
// It is for handlers that share what gets slower, or does less, the more of them there are, such as a database. Others gain
// nothing, and lose about a tenth of what they can do when they are at their end all the time. Default: no such limit.
//
// Neither this limit nor that of [WithTenantLimit] keeps out what the broker delivers again: it may have been executed, and a no
// would not be true.
func WithAdaptiveLimit(least int) Option { return func(o *options) { o.adaptive = least } }

// A limit is how many requests may be executed at a time. It climbs to where more of them do not get more done, as one climbs
// a hill in the fog: it goes a step, looks at how many calls end in a second, and goes on or back. Why it is not made by a
// library that compares times, and where the numbers come from: docs/adr/0012-adaptive-limit.md.
type limit struct {
	least, most int

	mu      sync.Mutex // guards what follows
	now     int
	running int
	pace    pace
	window              // what happened at this limit
	before  measurement // at the limit before; zero if there was too little to do
	rests   int         // at most, since it tried fewer
}

// A window is a time to look at. It begins when most calls that had begun at another limit have ended.
type window struct {
	begin        time.Time
	turn         time.Time     // running is what it is since then
	used         time.Duration // by all that ran
	ended        int
	sum, squares float64 // of the seconds that these took
}

type measurement struct {
	limit int
	rate  float64 // calls that ended in a second
}

const (
	windowLeast = 100 * time.Millisecond
	windowCalls = 20
	precision   = 0.07 // of what calls take: the more that differs, the more calls are looked at
	saturated   = 0.9  // of the limit is in use: it is the limit that bounds
	worth       = 0.3  // of what was added gets done in addition
	windowMost  = 1000 // times that, or what a call takes: the longest that a window lasts which is not precise
	rest        = 10   // windows at most, until fewer are tried again
)

// adapt is the interceptor that refuses what is over the limit.
func (s *Server) adapt(next rpc.Handler) rpc.Handler {
	return func(ctx context.Context, r *rpc.Request) (reply *rpc.Reply, err error) {
		start := time.Now()
		if retryAfter, ok := s.limit.enter(start, r.Redelivered); !ok {
			return nil, s.refuse("server is at its limit", retryAfter)
		}
		defer func() { s.limit.leave(start, time.Now(), executed(ctx, err)) }()
		return next(ctx, r)
	}
}

func newLimit(least, most int) *limit { return &limit{least: least, most: most, now: most} }

func (l *limit) get() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// enter lets a request in unless the limit is reached. One that must be let in counts all the same.
func (l *limit) enter(now time.Time, must bool) (retryAfter time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running >= l.now && !must {
		return l.pace.retryAfter(), false
	}
	l.run(now, 1)
	return 0, true
}

func (l *limit) leave(start, now time.Time, executed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run(now, -1)
	if !executed {
		return
	}
	took := now.Sub(start)
	l.pace.learn(took)
	if now.Before(l.begin) {
		return
	}
	l.ended++
	l.sum += took.Seconds()
	l.squares += took.Seconds() * took.Seconds()
	if d := now.Sub(l.begin); l.begin.IsZero() || d >= max(windowLeast, 2*time.Duration(l.pace)) && l.step(d) {
		l.window = window{begin: now.Add(time.Duration(l.pace)), turn: now}
	}
}

// run counts a request that begins or ends.
func (l *limit) run(now time.Time, n int) {
	from := l.turn
	if from.Before(l.begin) {
		from = l.begin
	}
	l.used += time.Duration(l.running) * max(0, now.Sub(from))
	l.turn = now
	l.running += n
}

// step ends a window of length d and chooses the next limit, unless it has seen too little to tell.
func (l *limit) step(d time.Duration) bool {
	m := measurement{limit: l.now, rate: float64(l.ended) / d.Seconds()}
	before, more := l.before, true
	switch {
	case l.used.Seconds() < saturated*float64(l.now)*d.Seconds():
		m = measurement{}
	case l.ended < windowCalls || !l.precise():
		return d >= windowMost*max(windowLeast, time.Duration(l.pace)) // a call of an hour is not to hide the others for ever
	case before.limit == 0:
		more = false
	case before.limit != m.limit:
		more = math.Log(m.rate/before.rate)/math.Log(float64(m.limit)/float64(before.limit)) > worth
	case m.limit == l.most:
		l.rests++
		more = l.rests%rest != 0
	}
	l.before = m
	if more {
		l.now = min(max(l.now+1, l.now*6/5), l.most)
	} else {
		l.now = max(min(l.now-1, l.now*5/6), l.least)
	}
	return true
}

// precise reports whether enough calls have ended to know the mean of what they take.
func (l *limit) precise() bool {
	n := float64(l.ended)
	return n*l.squares <= l.sum*l.sum*(1+n*precision*precision)
}

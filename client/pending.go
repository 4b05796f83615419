package client

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// pending knows the calls that wait, by call ID. A call is added before its first publish, or a fast reply would find
// nobody waiting.
type pending struct {
	mu    sync.Mutex // guards what follows
	calls map[string]*call
	spare []chan struct{}              // for the news of other calls
	past  *simplelru.LRU[string, past] // by ID, of calls that may be made again, since their callers chose it

	deadlines deadlines
	alarm     *time.Timer // for the first of them
	alarmAt   time.Time   // zero: never
}

// A past is what was sent before under an ID that a caller chose.
type past struct {
	attempts int
	others   int    // of these, the last that was of another call: a caller may use the ID for another method, or by mistake
	identity uint64 // of the last call
}

const (
	maxAttempts = 1 << 29 // under one ID, half of what servers take: after as many it starts over

	maxPast  = 10_000 // what is late for a call is long here before as many others have ended
	maxSpare = 1024
)

func newPending() pending {
	past, err := simplelru.NewLRU[string, past](maxPast, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return pending{calls: make(map[string]*call), past: past}
}

// A call is one that waits for its answer.
type call struct {
	req  rpc.Request
	plan plan
	own  *callContext // nil: another, which tells of its deadline
	rank int          // among the deadlines; guarded by the mutex of pending

	mu       sync.Mutex    // guards what follows; news is the caller's to read
	news     chan struct{} // buffered 1: there may be a reply, or an end of what the call waits for; nil while it is not pending
	reply    *conn.Message // the first ends the call, all others are late
	ending   ending        // of the attempt that it names
	before   int           // attempts that were made before, under the same ID
	others   int           // of these, the last that was of another call
	attempt  int
	answered bool
	mode     wire.Mode // of the present attempt
	heard    time.Time // that a server has it, or when it began; zero if servers do not say so
	gone     time.Time // since when it is in no queue, and no server has said that it has it; zero if that is not known
}

func newCall(ctx context.Context, r *rpc.Request) *call {
	own, _ := ctx.(*callContext)
	if own == nil || own.taken.Swap(true) {
		return &call{req: *r, own: own}
	}
	own.call.req, own.call.own = *r, own
	return &own.call
}

// An ending is how the broker ended an attempt, without a reply.
type ending struct {
	attempt int
	kind    kind // returned, nacked, unheard, or buried, which stands for all dead letters
	reason  string
}

// add reports whether there is no other call with the ID.
func (p *pending) add(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := c.req.ID
	if _, taken := p.calls[id]; taken {
		return false
	}
	if last := len(p.spare) - 1; last >= 0 {
		c.news, p.spare = p.spare[last], p.spare[:last]
	} else {
		c.news = make(chan struct{}, 1)
	}
	p.calls[id] = c
	if past, again := p.past.Get(id); again {
		c.attempt, c.before, c.others = past.attempts, past.attempts, past.others
		if past.identity != identity(&c.req) {
			c.others = past.attempts
		}
	}
	if c.own != nil {
		c.own.waiting.Add(1)
		p.expect(c)
	}
	return true
}

// remove forgets a call. If it may be made again its attempts go on from there: what still comes for an old one must not
// pass for the answer to a new one.
func (p *pending) remove(c *call, again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.calls, c.req.ID)
	if c.own != nil {
		c.own.waiting.Add(-1)
		p.forgo(c)
	}
	if news := c.retire(); len(p.spare) < maxSpare {
		p.spare = append(p.spare, news)
	}
	if again && c.attempt > 0 && c.attempt < maxAttempts {
		p.past.Add(c.req.ID, past{c.attempt, c.others, identity(&c.req)})
	}
}

// retire returns the channel for news, to which the call sends nothing from now on, however late.
func (c *call) retire() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.news
	c.news = nil
	select {
	case <-news:
	default:
	}
	return news
}

var seed = maphash.MakeSeed()

// identity tells calls apart that have the same ID: for servers they are different ones, or one of them is a mistake.
func identity(r *rpc.Request) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, name := range [...]string{r.Service, r.Method, r.ContentType} {
		h.WriteString(name)
		h.WriteByte(0)
	}
	h.Write(r.Body)
	return h.Sum64()
}

func (p *pending) get(id string) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[id]
}

// begin starts the next attempt. If the servers say that they have it, it may be sent again when they do not.
func (c *call) begin(mode wire.Mode, once bool, now time.Time) (attempt int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mode, c.heard, c.gone = mode, time.Time{}, time.Time{}
	if !once && (mode == wire.Direct || mode == wire.Queued) {
		c.heard = now
	}
	c.attempt++
	c.req.Attempt = c.attempt
	c.answered = c.reply != nil // if not, the answer to the attempt before was a no
	return c.attempt
}

// accept hands over an answer and reports whether the call was still without. A no to an earlier attempt, delivered twice
// or late, says nothing of the present one; what another call under the same ID is answered says nothing of this one at all.
func (c *call) accept(m *conn.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	attempt := wire.AttemptOf(m)
	if c.mode == wire.Plain {
		attempt = wire.AttemptOfAny(m)
	}
	earlier := attempt > 0 && (attempt < c.attempt || attempt <= c.before)
	if c.answered || earlier && (attempt <= c.others || wire.Refuses(m)) {
		return false
	}
	c.answered, c.reply = true, m
	c.wake()
	return true
}

// end hands over how the broker ended an attempt, unless another is under way.
func (c *call) end(e ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered || e.attempt != c.attempt || c.ending.attempt == e.attempt {
		return
	}
	c.ending = e
	c.wake()
}

// wake has the caller look whether what it waits for has ended. It is called with the mutex locked.
func (c *call) wake() {
	select {
	case c.news <- struct{}{}:
	default: // it will look anyway, or has ended
	}
}

// wakeAll does so for all calls.
func (p *pending) wakeAll() {
	for _, c := range p.all() {
		c.mu.Lock()
		c.wake()
		c.mu.Unlock()
	}
}

// replied returns what a reply says, if one has come.
func (c *call) replied() (e event, ok bool) {
	c.mu.Lock()
	m := c.reply
	c.reply = nil
	c.mu.Unlock()
	if m == nil {
		return event{}, false
	}
	return answer(m), true
}

// ended returns how the present attempt has ended without a reply, if it has.
func (c *call) ended() (e event, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending.attempt != c.attempt {
		return event{}, false
	}
	return c.ending.event(c.mode), true
}

func answer(m *conn.Message) event {
	reply, err := wire.DecodeReply(m)
	if err == nil {
		return event{kind: replied, reply: reply}
	}
	var e *rpc.Error
	if !errors.As(err, &e) {
		e = rpc.Errorf(rpc.Internal, "%w", err)
	}
	return event{kind: failed, err: e}
}

// event tells what the end of an attempt means, which depends on the mode: in the queue a request expires at the call's
// deadline, otherwise at once.
func (e ending) event(mode wire.Mode) event {
	switch {
	case e.kind != buried:
		return event{kind: e.kind, cause: errors.New(e.reason)}
	case e.reason == "expired" && mode == wire.Direct:
		return event{kind: bounced}
	case e.reason == "expired":
		return event{kind: expired}
	case e.reason == "maxlen": // without a server, or after one that died with it: the broker does not say
		return event{kind: full, cause: errFull}
	}
	return event{kind: buried, cause: fmt.Errorf("request was given up by the broker: %s", e.reason)}
}

// onDelivery takes what comes into the reply queue: replies, and requests that came back. Anybody can write there, so
// what belongs to no call, or does not come from the user that replies must come from, is dropped.
func (c *Client) onDelivery(d *conn.Delivery) {
	if b, ok := wire.DecodeBounce(&d.Message); ok {
		if call := c.pending.get(b.ID); call != nil {
			call.end(ending{attempt: b.Attempt, kind: buried, reason: b.Reason})
		}
		return
	}
	if c.opts.serverUser != "" && d.UserID != c.opts.serverUser {
		c.stats.forged.Add(1)
		return
	}
	call := c.pending.get(d.CorrelationID)
	if wire.SaysRunning(&d.Message) {
		if call != nil {
			call.hear(wire.AttemptOf(&d.Message))
		}
		return
	}
	if call == nil || !call.accept(&d.Message) {
		c.stats.late.Add(1)
	}
}

func (c *Client) onReturn(r *conn.Return) {
	if call := c.pending.get(r.CorrelationID); call != nil {
		call.end(ending{attempt: wire.AttemptOf(&r.Message), kind: returned, reason: r.Reason})
	}
}

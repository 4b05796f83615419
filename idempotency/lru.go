package idempotency

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// LRU is a [Store] in memory. It holds a bounded number of calls and bytes, and
// forgets an outcome once nobody has asked for it for long: after the maximum age,
// or, if it needs the room, after the minimum age, the one that was used the
// longest ago first.
//
// It never forgets a call that runs, nor an outcome younger than the minimum age,
// because a duplicate may be on its way. If there is no other room Begin refuses
// new calls with resource_exhausted, ExecutedNo. So it takes, for long, at most
// entries / minimum age calls per second: 20 000 with the defaults.
//
// Complete never refuses: the bound on bytes may be exceeded by the outcomes of
// the calls that were running when it was reached.
type LRU struct {
	entries        int
	bytes          int
	minAge, maxAge time.Duration

	mu      sync.Mutex // guards all below
	running map[Key]*entry
	done    *simplelru.LRU[Key, *entry] // oldest use first; len(running)+done.Len() <= entries
	used    int                         // bytes
	fence   uint64
	stats   Stats
}

// entry is a call that runs, or one that ran.
type entry struct {
	fence       uint64
	fingerprint Fingerprint
	record      *Record // nil while it runs; never changed
	cost        int     // in bytes
	used        time.Time
}

// entryCost is about what an entry takes without the strings and bytes in it.
const entryCost = 512

// Stats counts since the LRU was made, except for Entries and Bytes, which are as
// of now.
type Stats struct {
	Entries   int    // calls that run, and outcomes
	Bytes     int    // taken by them, about
	Hits      uint64 // Begins for a call that is known
	Misses    uint64 // Begins for a new call, answered with New
	Evictions uint64 // outcomes forgotten, for age or for room
	Shed      uint64 // Begins for a new call, refused
}

// LRUOption changes a default of NewLRU.
type LRUOption func(*LRU)

// WithEntries bounds the number of calls, running and recorded. Default 200 000.
func WithEntries(n int) LRUOption { return func(l *LRU) { l.entries = n } }

// WithBytes bounds the memory for them, approximately. Default 128 MiB.
func WithBytes(n int) LRUOption { return func(l *LRU) { l.bytes = n } }

// WithMinAge sets how long an outcome is kept at least after its last use. Default
// 10 s, the default timeout of a call. 0 keeps none for sure.
func WithMinAge(d time.Duration) LRUOption { return func(l *LRU) { l.minAge = d } }

// WithMaxAge sets how long an outcome is kept at most after its last use. Default
// 10 min.
func WithMaxAge(d time.Duration) LRUOption { return func(l *LRU) { l.maxAge = d } }

// NewLRU returns an empty LRU. It returns an error if an option is out of range:
// entries, bytes and the maximum age must be positive, the minimum age from 0 to
// the maximum.
func NewLRU(options ...LRUOption) (*LRU, error) {
	l := &LRU{
		entries: 200_000,
		bytes:   128 << 20,
		minAge:  10 * time.Second,
		maxAge:  10 * time.Minute,
		running: make(map[Key]*entry),
	}
	for _, option := range options {
		option(l)
	}
	if l.entries <= 0 || l.bytes <= 0 || l.maxAge <= 0 {
		return nil, fmt.Errorf("idempotency: entries %d, bytes %d and maximum age %v must be positive",
			l.entries, l.bytes, l.maxAge)
	}
	if l.minAge < 0 || l.minAge > l.maxAge {
		return nil, fmt.Errorf("idempotency: minimum age %v is not from 0 to the maximum %v", l.minAge, l.maxAge)
	}
	done, err := simplelru.NewLRU[Key, *entry](l.entries, nil)
	l.done = done
	return l, err
}

// Begin implements [Store].
func (l *LRU) Begin(_ context.Context, key Key, fingerprint Fingerprint) (Begun, error) {
	begun, err := l.begin(key, fingerprint)
	if begun.Record != nil {
		begun.Record = begun.Record.Clone() // large maybe: not under the mutex
	}
	return begun, err
}

func (l *LRU) begin(key Key, fingerprint Fingerprint) (Begun, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.expire(now)
	if e := l.find(key); e != nil {
		l.stats.Hits++
		switch {
		case e.fingerprint != fingerprint:
			return Begun{State: Mismatch}, nil
		case e.record == nil:
			return Begun{State: InFlight}, nil
		}
		e.used = now
		l.done.Get(key)
		return Begun{State: Done, Record: e.record}, nil
	}

	cost := entryCost + len(key.User) + len(key.Client) + len(key.Service) + len(key.Method) + len(key.ID)
	if wait := l.makeRoom(1, cost, now); wait > 0 {
		l.stats.Shed++
		return Begun{}, rpc.Errorf(rpc.ResourceExhausted, "too many recent calls").
			WithExecuted(rpc.ExecutedNo).WithRetryAfter(wait)
	}
	l.stats.Misses++
	l.fence++
	l.used += cost
	l.running[key] = &entry{fence: l.fence, fingerprint: fingerprint, cost: cost}
	return Begun{State: New, Token: Token{Key: key, Fence: l.fence}, Claims: 1}, nil
}

// Complete implements [Store].
func (l *LRU) Complete(_ context.Context, token Token, record *Record) error {
	record = record.Clone()
	cost := 0
	if record.Reply != nil {
		cost += len(record.Reply.ContentType) + len(record.Reply.Body) + len(record.Reply.Server)
	}
	if record.Err != nil {
		cost += len(record.Err.Message) + len(record.Err.Details)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.release(token)
	if err != nil {
		return err
	}
	e.record = record
	e.cost += cost
	e.used = time.Now()
	l.used += e.cost
	l.done.Add(token.Key, e)
	l.makeRoom(0, 0, e.used)
	return nil
}

// Abandon implements [Store].
func (l *LRU) Abandon(_ context.Context, token Token) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.release(token)
	return err
}

// Stats returns the counters.
func (l *LRU) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Entries = len(l.running) + l.done.Len()
	s.Bytes = l.used
	return s
}

// find returns the entry for key, or nil.
func (l *LRU) find(key Key) *entry {
	if e := l.running[key]; e != nil {
		return e
	}
	e, _ := l.done.Peek(key)
	return e
}

// release removes the running entry that token proves to be the holder's.
func (l *LRU) release(token Token) (*entry, error) {
	e := l.running[token.Key]
	if e == nil || e.fence != token.Fence {
		return nil, ErrLost
	}
	delete(l.running, token.Key)
	l.used -= e.cost
	return e, nil
}

// expire forgets all outcomes past the maximum age.
func (l *LRU) expire(now time.Time) {
	for {
		_, oldest, ok := l.done.GetOldest()
		if !ok || now.Sub(oldest.used) < l.maxAge {
			return
		}
		l.evict()
	}
}

// makeRoom forgets outcomes past the minimum age until there is room for more
// entries and bytes. It returns 0, or, if there is none, after what time to try
// again.
func (l *LRU) makeRoom(entries, bytes int, now time.Time) time.Duration {
	for len(l.running)+l.done.Len()+entries > l.entries || l.used+bytes > l.bytes {
		_, oldest, ok := l.done.GetOldest()
		if !ok {
			return askAgainAfter // all are running
		}
		if age := now.Sub(oldest.used); age < l.minAge {
			return l.minAge - age
		}
		l.evict()
	}
	return 0
}

// evict forgets the outcome that was used the longest ago.
func (l *LRU) evict() {
	_, e, _ := l.done.RemoveOldest()
	l.used -= e.cost
	l.stats.Evictions++
}

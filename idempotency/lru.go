package idempotency

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// LRU is a [Store] in memory. It holds a bounded number of calls and bytes, and
// forgets an outcome once nobody has asked for it for long: after the maximum age,
// or, if it needs the room, after the minimum age, the one that was used the
// longest ago first.
//
// It never forgets a call that runs, nor an outcome younger than the minimum age,
// because a duplicate may be on its way. If there is no other room Begin refuses
// new calls with resource_exhausted, ExecutedNo. So it takes, for long, as many
// calls per second as it has room for, divided by the minimum age in seconds.
// [WithTenantShare] keeps one caller from taking all of it.
//
// Complete never refuses: the bounds on bytes may be exceeded by the outcomes of
// the calls that were running when they were reached.
type LRU struct {
	bounds
	start time.Time // points in time are kept as the time since then

	mu      sync.Mutex // guards all below
	index   index
	all     part
	tenants map[Tenant]*part // nil if a tenant may have all
	fence   uint64
	stats   Stats
}

// entry is a call that runs, or one that ran.
type entry struct {
	key         Key
	fence       uint64
	fingerprint Fingerprint
	record      Record    // zero while it runs; never changed after
	reply       rpc.Reply // of the record, if it has one
	cost        int       // in bytes
	used        time.Duration

	tenant *part // nil if a tenant may have all
	links  [2]links
	hash   uint64 // of the key, in the index
	next   *entry // there
}

func (e *entry) running() bool { return e.record == Record{} }

// entryCost is about what an entry takes without the strings and bytes in it.
const entryCost = 360

// NewLRU returns an empty LRU. It returns an error if an option is out of range:
// entries, bytes and the maximum age must be positive, the minimum age from 0 to
// the maximum, the share of a tenant over 0 and at most 1.
func NewLRU(options ...LRUOption) (*LRU, error) {
	b := defaultBounds
	for _, option := range options {
		option(&b)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	l := &LRU{bounds: b, start: time.Now(), index: newIndex()}
	l.all = part{pair: ofAll, maxEntries: b.entries, maxBytes: b.bytes}
	if b.share < 1 {
		l.tenants = make(map[Tenant]*part)
	}
	return l, nil
}

// Begin implements [Store].
func (l *LRU) Begin(ctx context.Context, key Key, fingerprint Fingerprint) (Begun, error) {
	if err := ctx.Err(); err != nil {
		return Begun{}, fmt.Errorf("begin: %w", err)
	}
	begun, err := l.begin(key, fingerprint)
	if begun.Record != nil {
		begun.Record = begun.Record.Clone() // large maybe: not under the mutex
	}
	return begun, err
}

func (l *LRU) begin(key Key, fingerprint Fingerprint) (Begun, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	l.expire(now)
	e, hash := l.index.get(key)
	switch {
	case e == nil:
		return l.claim(&entry{key: key.own(), hash: hash, fingerprint: fingerprint}, now)
	case e.fingerprint != fingerprint:
		l.stats.Mismatch++
		return Begun{State: Mismatch}, nil
	case e.running():
		l.stats.InFlight++
		return Begun{State: InFlight}, nil
	}
	l.stats.Done++
	l.use(e, now)
	return Begun{State: Done, Record: &e.record}, nil
}

// claim adds a call, if there is room.
func (l *LRU) claim(e *entry, now time.Duration) (Begun, error) {
	e.cost = entryCost + e.key.size()
	if err := l.admit(e, now); err != nil {
		return Begun{}, err
	}
	l.stats.New++
	l.fence++
	e.fence = l.fence
	l.index.put(e)
	return Begun{State: New, Token: Token{Key: e.key, Fence: e.fence}, Claims: 1}, nil
}

// Complete implements [Store].
func (l *LRU) Complete(_ context.Context, token Token, record *Record) error {
	var reply rpc.Reply
	own := Record{Err: record.ownErr()} // large maybe: not under the mutex
	if record.Reply != nil {
		reply = ownReply(record.Reply)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.held(token)
	if err != nil {
		return err
	}
	now := time.Since(l.start)
	if record.Reply != nil {
		e.reply = reply
		own.Reply = &e.reply
	}
	e.record = own
	l.grow(e, own.size())
	l.use(e, now)
	l.makeRoom(e.tenant, 0, 0, now)
	l.makeRoom(&l.all, 0, 0, now)
	return nil
}

// Abandon implements [Store].
func (l *LRU) Abandon(_ context.Context, token Token) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.held(token)
	if err == nil {
		l.remove(e)
	}
	return err
}

// held returns the running call that token proves to be the holder's.
func (l *LRU) held(token Token) (*entry, error) {
	e, _ := l.index.get(token.Key)
	if e == nil || !e.running() || e.fence != token.Fence {
		l.stats.Lost++
		return nil, ErrLost
	}
	return e, nil
}

// Stats counts since the LRU was made, except for Entries and Bytes, which are as
// of now.
type Stats struct {
	Entries int // calls that run, and outcomes
	Bytes   int // taken by them, about

	// Begins, by what they were answered with.
	New, Done, InFlight, Mismatch uint64

	// Begins of new calls that were refused: there was no room, or the tenant had its
	// share.
	ShedForRoom, ShedForShare uint64

	// Outcomes that were forgotten: for their age, or to make room for others.
	EvictedForAge, EvictedForRoom uint64

	// Completes and Abandons that came too late.
	Lost uint64
}

// Stats returns the counters.
func (l *LRU) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Entries, s.Bytes = l.all.entries, l.all.bytes
	return s
}

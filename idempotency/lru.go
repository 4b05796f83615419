package idempotency

import (
	"bytes"
	"context"
	"fmt"
	"strings"
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
	running map[uint64]*entry // by fence
	all     part
	tenants map[Tenant]*part // nil if a tenant may have all
	names   rpc.Reply        // content type and server of the last reply: most have the same
	fence   uint64
	stats   Stats
}

// entry is a call that runs, or one that ran.
type entry struct {
	key         []byte // see [Key.Bytes]
	fingerprint Fingerprint
	outcome     Record    // zero while it runs; never changed after
	reply       rpc.Reply // of the outcome, if it has one
	cost        int       // in bytes
	used        time.Duration

	tenant *part // nil if a tenant may have all
	links  [2]links
	hash   uint64 // of the key, in the index
	next   *entry // there

	taken uint8     // of room
	room  [111]byte // of which a key with two UUIDs leaves some
}

func newEntry(key []byte, hash uint64, fingerprint Fingerprint) *entry {
	e := &entry{hash: hash, fingerprint: fingerprint}
	e.key, e.cost = e.own(key)
	e.cost += entryCost
	return e
}

// entryCost is about what an entry takes without what it has no room for itself.
const entryCost = 360

func (e *entry) running() bool { return e.outcome == Record{} }

// own returns a copy of b that belongs to the entry, and what that takes beyond the entry itself.
func (e *entry) own(b []byte) (own []byte, beyond int) {
	from := int(e.taken)
	if len(b) > len(e.room)-from {
		return bytes.Clone(b), len(b)
	}
	e.taken += uint8(len(b))
	return append(e.room[from:from:e.taken], b...), 0
}

// record returns a copy of r that belongs to the entry, and what that takes beyond the entry itself.
func (e *entry) record(r *Record) (own Record, beyond int) {
	own.Err = r.ownErr()
	beyond = r.size()
	if r.Reply != nil {
		e.reply = *r.Reply
		if body := r.Reply.Body; body != nil {
			var outside int
			e.reply.Body, outside = e.own(body)
			beyond += outside - len(body)
		}
		own.Reply = &e.reply
	}
	return own, beyond
}

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
	l := &LRU{bounds: b, start: time.Now(), index: newIndex(), running: make(map[uint64]*entry)}
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
	var room [128]byte
	begun, err := l.begin(key, key.append(room[:0]), fingerprint)
	if begun.Record != nil {
		begun.Record = begun.Record.Clone() // large maybe: not under the mutex
	}
	return begun, err
}

func (l *LRU) begin(key Key, encoded []byte, fingerprint Fingerprint) (Begun, error) {
	hash := l.index.hash(encoded)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	l.expire(now)
	e := l.index.get(encoded, hash)
	switch {
	case e == nil:
		return l.claim(newEntry(encoded, hash, fingerprint), key, now)
	case e.fingerprint != fingerprint:
		l.stats.Mismatch++
		return Begun{State: Mismatch}, nil
	case e.running():
		l.stats.InFlight++
		return Begun{State: InFlight}, nil
	}
	l.stats.Done++
	l.use(e, now)
	return Begun{State: Done, Record: &e.outcome}, nil
}

// claim adds a call, if there is room.
func (l *LRU) claim(e *entry, key Key, now time.Duration) (Begun, error) {
	if err := l.admit(e, key.Tenant(), now); err != nil {
		return Begun{}, err
	}
	l.stats.New++
	l.fence++
	l.index.put(e)
	l.running[l.fence] = e
	return Begun{State: New, Token: Token{Key: key, Fence: l.fence}, Claims: 1}, nil
}

// Complete implements [Store].
func (l *LRU) Complete(_ context.Context, token Token, record *Record) error {
	e, err := l.end(token, false)
	if err != nil {
		return err
	}
	own, size := e.record(record) // large maybe: not under the mutex

	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	e.outcome = own
	if record.Reply != nil {
		share(&l.names.ContentType, &e.reply.ContentType)
		share(&l.names.Server, &e.reply.Server)
	}
	l.grow(e, size)
	l.use(e, now)
	l.makeRoom(e.tenant, 0, 0, now)
	l.makeRoom(&l.all, 0, 0, now)
	return nil
}

// share makes s the last one if it is equal, and else a new last one: a name may be a part of the message that it came with.
func share(last, s *string) {
	if *s != *last {
		*last = strings.Clone(*s)
	}
	*s = *last
}

// Abandon implements [Store].
func (l *LRU) Abandon(_ context.Context, token Token) error {
	_, err := l.end(token, true)
	return err
}

// end ends the claim that token proves to be the holder's, and forgets the call if it did not run. Otherwise nobody but the
// caller changes its entry any more.
func (l *LRU) end(token Token, forget bool) (*entry, error) {
	var room [128]byte
	key := token.Key.append(room[:0])
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.running[token.Fence]
	if e == nil || !bytes.Equal(e.key, key) {
		l.stats.Lost++
		return nil, ErrLost
	}
	delete(l.running, token.Fence)
	if forget {
		l.remove(e)
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

package bolt

import (
	"bytes"
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
)

// The buckets of a file. Calls that run are apart, so that a claim is written to a few pages that are written anyway.
var (
	fileBucket    = []byte("idempotency") // schema and head
	runningBucket = []byte("running")     // call ID -> entry, claimed by the process that has the file open
	callsBucket   = []byte("calls")       // call ID -> entry, of calls that nobody runs
	agesBucket    = []byte("ages")        // when it came there (8), call ID -> nothing, for each of calls
)

// group is one transaction: what a group of operations sees and changes.
type group struct {
	*Store
	head
	id                   int64
	file                 *bbolt.Bucket
	running, calls, ages *bbolt.Bucket
	now                  time.Time
	used                 int64 // bytes of the file, before
	changed              bool
	evicted              uint64
}

func (s *Store) group(tx *bbolt.Tx) (*group, error) {
	stats := s.db.Stats()
	free := int64(stats.FreePageN+stats.PendingPageN) * int64(s.db.Info().PageSize)
	g := &group{
		Store: s, id: int64(tx.ID()), now: s.now(), used: tx.Size() - free,
		file: tx.Bucket(fileBucket), running: tx.Bucket(runningBucket),
		calls: tx.Bucket(callsBucket), ages: tx.Bucket(agesBucket),
	}
	return g, g.load(g.file)
}

func (g *group) save() error { return g.store(g.file) }

// do does one operation. The error, unlike that in the result, is for the whole group.
func (g *group) do(o *op) (result, error) {
	e, err := get(g.running, o.id)
	switch {
	case err != nil:
		return result{err: damaged(err)}, nil
	case o.kind == begin && e != nil:
		return e.recall(o.fingerprint), nil
	case o.kind == begin:
		return g.begin(o)
	case e == nil || e.fence != o.fence:
		return result{err: idempotency.ErrLost}, nil
	}
	return result{}, g.end(o, e)
}

// begin answers a begin for a call that nobody runs.
func (g *group) begin(o *op) (result, error) {
	e, err := get(g.calls, o.id)
	if err != nil {
		return result{err: damaged(err)}, nil
	}
	r := result{state: idempotency.New, claims: 1}
	switch {
	case e == nil:
		var refusal error
		if refusal, err = g.makeRoom(); refusal != nil {
			return result{err: refusal}, nil
		}
	case g.expired(e, g.now):
		g.evicted++
		err = g.forget(o.id, e.at)
	default:
		if r = e.recall(o.fingerprint); r.claims == 0 {
			return r, nil
		}
		err = g.forget(o.id, e.at)
	}
	if err != nil {
		return result{}, err
	}
	failpoint.Hit("bolt-claiming")
	g.changed = true
	g.size++
	g.fence++
	r.fence = g.fence
	e = &entry{state: running, at: g.now, fingerprint: o.fingerprint, claims: r.claims, fence: r.fence}
	return r, g.running.Put(o.id[:], e.bytes())
}

// end ends the claim of a call that runs as e says.
func (g *group) end(o *op, e *entry) error {
	g.changed = true
	if err := g.running.Delete(o.id[:]); err != nil {
		return err
	}
	switch {
	case o.kind == complete:
		failpoint.Hit("bolt-storing")
		return g.settle(o.id, &entry{state: done, fingerprint: e.fingerprint, record: o.record})
	case e.claims > 1: // an orphan before, and after
		return g.settle(o.id, &entry{state: orphaned, fingerprint: e.fingerprint, claims: e.claims - 1})
	}
	g.size--
	return nil
}

// recall returns the answer of a begin for a call that is known.
func (e *entry) recall(f idempotency.Fingerprint) result {
	switch {
	case e.fingerprint != f:
		return result{state: idempotency.Mismatch}
	case e.state == running:
		return result{state: idempotency.InFlight}
	case e.state == done:
		return result{state: idempotency.Done, record: bytes.Clone(e.record)}
	}
	return result{state: idempotency.Orphaned, claims: e.claims + 1}
}

// settle puts an entry, which is in no bucket but counted, among those that nobody runs.
func (g *group) settle(id callID, e *entry) error {
	e.at = g.now
	if err := g.ages.Put(ageKey(e.at, id), []byte{}); err != nil {
		return err
	}
	return g.calls.Put(id[:], e.bytes())
}

// forget removes an entry that nobody runs.
func (g *group) forget(id callID, at time.Time) error {
	g.changed = true
	g.size--
	if err := g.ages.Delete(ageKey(at, id)); err != nil {
		return err
	}
	return g.calls.Delete(id[:])
}

func ageKey(at time.Time, id callID) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())), id[:]...)
}

func parseAgeKey(k []byte) (id callID, at time.Time, ok bool) {
	if len(k) != 8+len(id) {
		return id, at, false
	}
	return callID(k[8:]), time.Unix(0, int64(binary.BigEndian.Uint64(k))), true
}

func (s *Store) expired(e *entry, now time.Time) bool { return now.Sub(e.at) >= s.maxAge }

package postgres

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// call is how PostgreSQL knows a call.
type call struct {
	key         [sha256.Size]byte
	fingerprint idempotency.Fingerprint
	locks       []int64 // of the call with its payload, and of the call
}

// newCall is of a schema, since the locks are those of a database.
func newCall(schema string, key idempotency.Key, fingerprint idempotency.Fingerprint) *call {
	c := &call{key: sum(key), fingerprint: fingerprint}
	c.locks = []int64{lock(schema, c.key[:], fingerprint[:]), lock(schema, c.key[:])}
	return c
}

// lock is the number of an advisory lock.
func lock(schema string, of ...[]byte) int64 {
	h := sha256.New()
	h.Write([]byte(schema + "\x00"))
	for _, b := range of {
		h.Write(b)
	}
	return int64(binary.BigEndian.Uint64(h.Sum(nil)))
}

func (c *call) args(more ...any) []any {
	return append([]any{c.key[:], c.fingerprint[:], c.locks}, more...)
}

func sum(key idempotency.Key) [sha256.Size]byte { return sha256.Sum256(key.Bytes()) }

// answer is what the function claim returns.
type answer struct {
	state      string
	fence      *int64
	claims     *int
	leaf, tid  *string // where the row is
	head, body []byte
}

func (a *answer) fields() []any {
	return []any{&a.state, &a.fence, &a.claims, &a.leaf, &a.tid, &a.head, &a.body}
}

// claimed says whether the call is the caller's.
func (a *answer) claimed() bool { return a.state == "new" || a.state == "orphaned" }

func (a *answer) begun(key idempotency.Key) (begun idempotency.Begun, err error) {
	switch a.state {
	case "new":
		begun.State = idempotency.New
	case "orphaned":
		begun.State = idempotency.Orphaned
	case "running":
		begun.State = idempotency.InFlight
	case "mismatch":
		begun.State = idempotency.Mismatch
	case "done":
		begun.State = idempotency.Done
		begun.Record, err = decode(a.head, a.body)
	case "torn":
		begun.State = idempotency.Done
		begun.Record = &idempotency.Record{Err: rpc.Errorf(rpc.Internal, "the handler has ended the transaction of the call")}
	default:
		err = rpc.Errorf(rpc.Internal, "the schema answers %q", a.state).WithExecuted(rpc.ExecutedNo)
	}
	if a.claimed() {
		begun.Token = idempotency.Token{Key: key, Fence: uint64(*a.fence)}
		begun.Claims = *a.claims
	}
	if err != nil {
		return idempotency.Begun{}, err
	}
	return begun, nil
}

package idempotency

import (
	"bytes"
	"hash/maphash"
)

// index finds the entry of a key. It is a map by the hash of the key, since one by
// key would hold each key, of 80 bytes, a second time.
type index struct {
	seed maphash.Seed
	m    map[uint64]*entry // the first of those with the hash
}

func newIndex() index {
	return index{seed: maphash.MakeSeed(), m: make(map[uint64]*entry)}
}

func (x *index) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }

// get returns the entry for key, which has that hash, or nil.
func (x *index) get(key []byte, hash uint64) *entry {
	e := x.m[hash]
	for e != nil && !bytes.Equal(e.key, key) {
		e = e.next
	}
	return e
}

// put adds an entry for a key that has none.
func (x *index) put(e *entry) {
	e.next = x.m[e.hash]
	x.m[e.hash] = e
}

// remove takes out an entry that is there.
func (x *index) remove(e *entry) {
	first := x.m[e.hash]
	switch {
	case first != e:
		for first.next != e {
			first = first.next
		}
		first.next = e.next
	case e.next != nil:
		x.m[e.hash] = e.next
	default:
		delete(x.m, e.hash)
	}
}

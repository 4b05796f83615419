package idempotency

import "hash/maphash"

// index finds the entry of a key. It is a map by the hash of the key, since one by
// key would hold each key, of 80 bytes, a second time.
type index struct {
	hash func(Key) uint64
	m    map[uint64]*entry // the first of those with the hash
}

func newIndex() index {
	seed := maphash.MakeSeed()
	return index{
		hash: func(key Key) uint64 { return maphash.Comparable(seed, key) },
		m:    make(map[uint64]*entry),
	}
}

// get returns the entry for key, or nil, and what to put one with.
func (x *index) get(key Key) (*entry, uint64) {
	h := x.hash(key)
	e := x.m[h]
	for e != nil && e.key != key {
		e = e.next
	}
	return e, h
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

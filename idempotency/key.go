package idempotency

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Key names a call among all calls of all callers. User and Client are its scope:
// call IDs of different callers are different calls, so that nobody gets the
// outcome of a call of somebody else.
type Key struct {
	User    string // validated by the broker, or ""
	Client  string
	Service string
	Method  string
	ID      string // the call ID, not ""
}

// KeyOf returns the key of the call that req is an attempt of.
func KeyOf(req *rpc.Request) Key {
	return Key{User: req.User, Client: req.Client, Service: req.Service, Method: req.Method, ID: req.ID}
}

// Bytes returns an encoding of the key for stores whose keys are bytes: each
// field after its length, so that different keys never have the same bytes.
func (k Key) Bytes() []byte { return k.append(nil) }

func (k Key) append(b []byte) []byte {
	for _, field := range [...]string{k.User, k.Client, k.Service, k.Method, k.ID} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	return b
}

// Fingerprint tells payloads apart: two attempts of one call have the same.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns the SHA-256 of the content type, after its length, and the
// body. Headers and the number of the attempt may differ between attempts, and do
// not count.
func FingerprintOf(req *rpc.Request) Fingerprint {
	h := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(req.ContentType)))
	h.Write(length[:])
	h.Write([]byte(req.ContentType))
	h.Write(req.Body)
	var f Fingerprint
	h.Sum(f[:0])
	return f
}

package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// callID is the SHA-256 of the bytes of a call's key: all keys are as long.
type callID [sha256.Size]byte

type state uint8

const (
	running  state = 1
	orphaned state = 2 // it was running when the file was opened
	done     state = 3
)

// entry is what is stored of a call. Its encoding is
//
//	version 1, state, at (8), fingerprint (32), claims (4), fence (8), record, CRC-32C of all before (4)
//
// with integers big endian.
type entry struct {
	state       state
	at          time.Time // when it came into this state
	fingerprint idempotency.Fingerprint
	claims      int
	fence       uint64
	record      []byte // if done
}

const (
	entryVersion = 1
	entryHeader  = 2 + 8 + sha256.Size + 4 + 8
	entrySize    = entryHeader + crc32.Size // without the record
	maxRecord    = bbolt.MaxValueSize - entrySize
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("damaged")
)

func (e *entry) bytes() []byte {
	b := make([]byte, 0, entrySize+len(e.record))
	b = append(b, entryVersion, byte(e.state))
	b = binary.BigEndian.AppendUint64(b, uint64(e.at.UnixNano()))
	b = append(b, e.fingerprint[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(e.claims))
	b = binary.BigEndian.AppendUint64(b, e.fence)
	b = append(b, e.record...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseEntry is the reverse of bytes. The entry shares memory with b.
func parseEntry(b []byte) (*entry, error) {
	if len(b) < entrySize || b[0] != entryVersion {
		return nil, fmt.Errorf("entry: %w", errDamaged)
	}
	b, sum := b[:len(b)-crc32.Size], binary.BigEndian.Uint32(b[len(b)-crc32.Size:])
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, fmt.Errorf("entry: %w: wrong checksum", errDamaged)
	}
	e := &entry{state: state(b[1]), at: time.Unix(0, int64(binary.BigEndian.Uint64(b[2:]))), record: b[entryHeader:]}
	b = b[10:entryHeader]
	copy(e.fingerprint[:], b)
	b = b[sha256.Size:]
	e.claims, e.fence = int(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint64(b[4:])
	return e, nil
}

// get returns the entry of a call in the bucket, or nil. It is valid until the transaction ends.
func get(b *bbolt.Bucket, id callID) (*entry, error) {
	v := b.Get(id[:])
	if v == nil {
		return nil, nil
	}
	return parseEntry(v)
}

// damaged is the answer for a call that is known, but not what of it.
func damaged(cause error) error {
	return rpc.Errorf(rpc.DataLoss, "what is stored of the call is damaged").WithCause(cause)
}

// safely has f fail with errDamaged where bbolt, which takes its pages for sound, panics, or meets the end of the file
// in its memory map.
func safely(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

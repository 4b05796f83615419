package bolt

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// The first byte of a record says what it is.
const (
	recordReply = 1 // content type, server, body
	recordError = 2 // code, message, details, retry after, executed, remote
)

// appendRecord encodes a record: integers as varints, and bytes after their length and 1, or 0 for nil. Of a record
// with both, which there should not be, the error is kept.
func appendRecord(b []byte, r *idempotency.Record) []byte {
	if e := r.Err; e != nil {
		b = binary.AppendUvarint(append(b, recordError), uint64(e.Code))
		b = appendBytes(b, []byte(e.Message))
		b = appendBytes(b, e.Details)
		b = binary.AppendUvarint(b, uint64(e.RetryAfter))
		b = binary.AppendUvarint(b, uint64(e.Executed))
		if e.Remote {
			return append(b, 1)
		}
		return append(b, 0)
	}
	if r.Reply == nil {
		return b
	}
	b = append(b, recordReply)
	b = appendBytes(b, []byte(r.Reply.ContentType))
	b = appendBytes(b, []byte(r.Reply.Server))
	return appendBytes(b, r.Reply.Body)
}

func appendBytes(b, field []byte) []byte {
	if field == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(field))+1), field...)
}

// parseRecord is the reverse of appendRecord. The record shares no memory with b.
func parseRecord(b []byte) (*idempotency.Record, error) {
	var r idempotency.Record
	f := fields{b: b}
	switch f.number() {
	case recordReply:
		r.Reply = &rpc.Reply{ContentType: string(f.bytes()), Server: string(f.bytes()), Body: f.bytes()}
	case recordError:
		r.Err = &rpc.Error{
			Code: rpc.Code(f.number()), Message: string(f.bytes()), Details: f.bytes(),
			RetryAfter: time.Duration(f.number()), Executed: rpc.Execution(f.number()), Remote: f.number() == 1,
		}
	default:
		f.bad = true
	}
	if f.bad || len(f.b) > 0 {
		return nil, fmt.Errorf("record: %w", errDamaged)
	}
	return &r, nil
}

// fields reads one field after the other. Once one is bad all are, and zero.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 {
		f.b, f.bad = nil, true
		return 0
	}
	f.b = f.b[size:]
	return n
}

// bytes returns a copy.
func (f *fields) bytes() []byte {
	n := f.number()
	if n == 0 {
		return nil
	}
	n--
	if n > uint64(len(f.b)) {
		f.b, f.bad = nil, true
		return nil
	}
	field := append([]byte{}, f.b[:n]...)
	f.b = f.b[n:]
	return field
}

package frame

import (
	"encoding/binary"
	"math"
	"time"
)

// A cursor reads values from a payload. Once something is missing or wrong it stays bad, and returns zero values.
type cursor[T string | []byte] struct {
	rest T
	bad  bool
}

// A text is a cursor whose strings are parts of it: all strings of a message are one allocation.
type text = cursor[string]

// take returns the next n bytes.
func (c *cursor[T]) take(n uint64) T {
	if c.bad || n > uint64(len(c.rest)) {
		c.bad, c.rest = true, c.rest[:0]
		return c.rest
	}
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

func (c *cursor[T]) octet() uint8 {
	if s := c.take(1); len(s) == 1 {
		return s[0]
	}
	return 0
}

func (c *cursor[T]) uint16() uint16 {
	var b [2]byte
	copy(b[:], c.take(2))
	return binary.BigEndian.Uint16(b[:])
}

func (c *cursor[T]) uint32() uint32 {
	var b [4]byte
	copy(b[:], c.take(4))
	return binary.BigEndian.Uint32(b[:])
}

func (c *cursor[T]) uint64() uint64 {
	var b [8]byte
	copy(b[:], c.take(8))
	return binary.BigEndian.Uint64(b[:])
}

func (c *cursor[T]) short() T { return c.take(uint64(c.octet())) }
func (c *cursor[T]) long() T  { return c.take(uint64(c.uint32())) }

// maxDepth is how deep tables and lists are read inside of each other; what is deeper is nil. The AMQP library ends the
// connection there, and at 8192 elements of one: a sender could end each that its message is delivered to. How many there are
// the frame bounds.
const maxDepth = 32

// A Decimal is a header value of a peer: Value / 10^Scale. None is ever sent.
type Decimal struct {
	Scale uint8
	Value int32
}

func readTable(t *text, depth int) map[string]any {
	inner := text{rest: t.long(), bad: t.bad}
	table := make(map[string]any)
	for inner.rest != "" && !inner.bad {
		name := inner.short()
		if value := readValue(&inner, depth); !inner.bad {
			table[name] = value
		}
	}
	t.bad = t.bad || inner.bad
	return table
}

func readList(t *text, depth int) []any {
	inner := text{rest: t.long(), bad: t.bad}
	var list []any
	for inner.rest != "" && !inner.bad {
		if value := readValue(&inner, depth); !inner.bad {
			list = append(list, value)
		}
	}
	t.bad = t.bad || inner.bad
	return list
}

// readValue reads a value of any type that RabbitMQ knows, see https://www.rabbitmq.com/docs/amqp-0-9-1-errata#section_3.
func readValue(t *text, depth int) any {
	kind := t.octet()
	if depth == maxDepth && (kind == 'A' || kind == 'F') {
		t.long()
		return nil
	}
	switch kind {
	case 'S':
		return t.long()
	case 'l', 'L': // py-amqp writes the second, which the AMQP library does not read
		return int64(t.uint64())
	case 't':
		return t.octet() != 0
	case 'I':
		return int32(t.uint32())
	case 'A':
		return readList(t, depth+1)
	case 'F':
		return readTable(t, depth+1)
	case 'T':
		return time.Unix(int64(t.uint64()), 0)
	case 'd':
		return math.Float64frombits(t.uint64())
	case 'x':
		return []byte(t.long())
	case 'V':
		return nil
	case 'b':
		return int8(t.octet())
	case 'B':
		return t.octet()
	case 's':
		return int16(t.uint16())
	case 'u':
		return t.uint16()
	case 'i':
		return t.uint32()
	case 'f':
		return math.Float32frombits(t.uint32())
	case 'D':
		return Decimal{Scale: t.octet(), Value: int32(t.uint32())}
	}
	t.bad = true
	return nil
}

// readProperties reads those that are there. What follows them in the frame does not matter.
func readProperties(t *text, p *Properties, known *tables) {
	*p = Properties{}
	has := t.uint16()
	short := func(flag uint16, s *string) {
		if has&flag != 0 {
			*s = t.short()
		}
	}
	short(hasContentType, &p.ContentType)
	short(hasContentEncoding, &p.ContentEncoding)
	if has&hasHeaders != 0 {
		p.Headers = known.read(t)
	}
	if has&hasDeliveryMode != 0 {
		p.DeliveryMode = t.octet()
	}
	if has&hasPriority != 0 {
		p.Priority = t.octet()
	}
	short(hasCorrelationID, &p.CorrelationID)
	short(hasReplyTo, &p.ReplyTo)
	short(hasExpiration, &p.Expiration)
	short(hasMessageID, &p.MessageID)
	if has&hasTimestamp != 0 {
		p.Timestamp, p.HasTimestamp = int64(t.uint64()), true
	}
	short(hasType, &p.Type)
	short(hasUserID, &p.UserID)
	short(hasAppID, &p.AppID)
	var reserved string
	short(hasReserved, &reserved)
}

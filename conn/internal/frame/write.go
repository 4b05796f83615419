package frame

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// A Publish is a message to be published. Its strings and its headers' names have at most 255 bytes, and its headers have no
// types but those of [Message.Headers] of the package conn: who publishes has checked that.
type Publish struct {
	Exchange  string
	Key       string
	Mandatory bool
	Properties
	Body []byte
}

// AppendPublish appends the frames of a message: method, header, and as many for the body as it takes for none to be longer
// than limit, all in all. A limit of 0 is none.
func AppendPublish(b []byte, channel uint16, p *Publish, limit int) []byte {
	b, start := begin(b, Method, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(BasicPublish))
	b = append(b, 0, 0) // reserved
	b = appendShort(b, p.Exchange)
	b = appendShort(b, p.Key)
	b = appendBool(b, p.Mandatory)
	b = finish(b, start)

	b, start = begin(b, Header, channel)
	b = binary.BigEndian.AppendUint16(b, basic)
	b = append(b, 0, 0) // weight
	b = binary.BigEndian.AppendUint64(b, uint64(len(p.Body)))
	b = appendProperties(b, &p.Properties)
	b = finish(b, start)

	most := len(p.Body)
	if limit > 0 {
		most = limit - Overhead
	}
	for rest := p.Body; len(rest) > 0; {
		n := min(most, len(rest))
		b, start = begin(b, Body, channel)
		b = append(b, rest[:n]...)
		b = finish(b, start)
		rest = rest[n:]
	}
	return b
}

// AppendAck appends the acknowledgement of a delivery; with multiple, of all before it as well.
func AppendAck(b []byte, channel uint16, tag uint64, multiple bool) []byte {
	b, start := begin(b, Method, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(BasicAck))
	b = binary.BigEndian.AppendUint64(b, tag)
	b = appendBool(b, multiple)
	return finish(b, start)
}

// AppendNack appends the refusal of a delivery, which goes back to its queue if requeue.
func AppendNack(b []byte, channel uint16, tag uint64, requeue bool) []byte {
	b, start := begin(b, Method, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(BasicNack))
	b = binary.BigEndian.AppendUint64(b, tag)
	var bits byte // the first is multiple
	if requeue {
		bits = 2
	}
	b = append(b, bits)
	return finish(b, start)
}

// AppendQos appends a question that changes nothing on a channel without consumers. The answer, [QosOK], comes when the broker
// has done what was written before.
func AppendQos(b []byte, channel uint16) []byte {
	b, start := begin(b, Method, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(BasicQos))
	b = append(b, 0, 0, 0, 0, 0, 0, 0) // no bounds: of bytes, of messages, of this channel's consumers only
	return finish(b, start)
}

// begin appends the head of a frame, with a size that finish sets.
func begin(b []byte, typ uint8, channel uint16) (_ []byte, start int) {
	start = len(b)
	return append(b, typ, byte(channel>>8), byte(channel), 0, 0, 0, 0), start
}

func finish(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start+3:], uint32(len(b)-start-HeadSize))
	return append(b, End)
}

func appendProperties(b []byte, p *Properties) []byte {
	flags := len(b)
	b = append(b, 0, 0)
	var has uint16
	short := func(flag uint16, s string) {
		if s != "" {
			has |= flag
			b = appendShort(b, s)
		}
	}
	octet := func(flag uint16, v uint8) {
		if v != 0 {
			has |= flag
			b = append(b, v)
		}
	}
	short(hasContentType, p.ContentType)
	short(hasContentEncoding, p.ContentEncoding)
	if len(p.Headers) > 0 {
		has |= hasHeaders
		b = appendTable(b, p.Headers)
	}
	octet(hasDeliveryMode, p.DeliveryMode)
	octet(hasPriority, p.Priority)
	short(hasCorrelationID, p.CorrelationID)
	short(hasReplyTo, p.ReplyTo)
	short(hasExpiration, p.Expiration)
	short(hasMessageID, p.MessageID)
	if p.HasTimestamp {
		has |= hasTimestamp
		b = binary.BigEndian.AppendUint64(b, uint64(p.Timestamp))
	}
	short(hasType, p.Type)
	short(hasUserID, p.UserID)
	short(hasAppID, p.AppID)
	binary.BigEndian.PutUint16(b[flags:], has)
	return b
}

func appendShort(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}

func appendLong(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendTable(b []byte, t map[string]any) []byte {
	b, start := beginLong(b)
	for name, value := range t {
		b = appendShort(b, name)
		b = appendValue(b, value)
	}
	return finishLong(b, start)
}

// beginLong appends a length that finishLong sets.
func beginLong(b []byte) (_ []byte, start int) { return append(b, 0, 0, 0, 0), len(b) }

func finishLong(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

func appendValue(b []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, 'V')
	case bool:
		return appendBool(append(b, 't'), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'l'), uint64(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 'd'), math.Float64bits(v))
	case string:
		return appendLong(append(b, 'S'), v)
	case []byte:
		b = binary.BigEndian.AppendUint32(append(b, 'x'), uint32(len(v)))
		return append(b, v...)
	case time.Time:
		return binary.BigEndian.AppendUint64(append(b, 'T'), uint64(v.Unix()))
	case []any:
		b, start := beginLong(append(b, 'A'))
		for _, e := range v {
			b = appendValue(b, e)
		}
		return finishLong(b, start)
	}
	panic(fmt.Sprintf("frame: a header of type %T was not checked", value))
}

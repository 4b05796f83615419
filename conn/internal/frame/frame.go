// Package frame writes and reads the frames of AMQP 0-9-1 that carry messages: publish, deliver, return, ack and nack of the
// class basic, with their headers and bodies. All others, those that open, declare and close, are the AMQP library's.
//
// Writing allocates nothing but room in the caller's buffer. Reading trusts nobody: what is malformed is an error, and no
// length that a peer claims is believed before as many bytes are there.
//
// The numbers are those of the specification, https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2.
package frame

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrMalformed is what reading fails with, whatever is wrong.
var ErrMalformed = errors.New("malformed frame")

// The types of frames.
const (
	Method = 1
	Header = 2
	Body   = 3
)

const (
	HeadSize = 7            // of a frame: type, channel, size
	Overhead = HeadSize + 1 // and the octet at its end

	End         = 0xCE
	LeastHeader = 14 // of the payload of a header: class, weight, size of the body, flags
)

// A Head is the beginning of a frame.
type Head struct {
	Type    uint8
	Channel uint16
	Size    uint32 // of the payload
}

// ParseHead reads the first HeadSize bytes of a frame.
func ParseHead(b []byte) Head {
	return Head{Type: b[0], Channel: binary.BigEndian.Uint16(b[1:]), Size: binary.BigEndian.Uint32(b[3:])}
}

// Len is how many bytes the whole frame has. Where an int cannot say so it is the largest one, and more than anybody takes.
func (h Head) Len() int { return int(min(int64(h.Size)+Overhead, math.MaxInt)) }

// Payload returns what is inside of a whole frame.
func Payload(frame []byte) ([]byte, error) {
	last := len(frame) - 1
	if frame[last] != End {
		return nil, ErrMalformed
	}
	return frame[HeadSize:last], nil
}

// An ID names a method: its class in the upper 16 bits, its number there in the lower.
type ID uint32

// The methods that are known here.
const (
	ConnectionClose ID = 10<<16 | 50

	ChannelOpen  ID = 20<<16 | 10
	ChannelClose ID = 20<<16 | 40

	BasicQos     ID = basic<<16 | 10
	BasicQosOK   ID = basic<<16 | 11
	BasicPublish ID = basic<<16 | 40
	BasicCancel  ID = basic<<16 | 30
	BasicReturn  ID = basic<<16 | 50
	BasicDeliver ID = basic<<16 | 60
	BasicAck     ID = basic<<16 | 80
	BasicNack    ID = basic<<16 | 120

	basic = 60 // the class
)

// MethodID tells which method the payload of a method frame is of; 0 if it is too short to say.
func MethodID(payload []byte) ID {
	if len(payload) < 4 {
		return 0
	}
	return ID(binary.BigEndian.Uint32(payload))
}

// Properties are what the header of a message holds, besides the size of its body. See section "basic class" of the
// specification.
type Properties struct {
	ContentType     string
	ContentEncoding string
	Headers         map[string]any
	DeliveryMode    uint8 // 1 transient, 2 persistent; 0 if it is not said
	Priority        uint8
	CorrelationID   string
	ReplyTo         string
	Expiration      string
	MessageID       string
	Timestamp       int64 // seconds since 1970, where HasTimestamp
	HasTimestamp    bool
	Type            string
	UserID          string
	AppID           string
}

// The flags of properties that are there, in the order in which they follow.
const (
	hasContentType = 1 << (15 - iota)
	hasContentEncoding
	hasHeaders
	hasDeliveryMode
	hasPriority
	hasCorrelationID
	hasReplyTo
	hasExpiration
	hasMessageID
	hasTimestamp
	hasType
	hasUserID
	hasAppID
	hasReserved
)

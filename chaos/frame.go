package chaos

import "encoding/binary"

// The kinds of frames, see section 4.2.3 of the AMQP 0-9-1 specification.
const (
	methodFrame    = 1
	headerFrame    = 2
	bodyFrame      = 3
	heartbeatFrame = 8
	greetingFrame  = 'A' // not a frame: the first eight bytes that a client sends

	frameEnd = 0xCE
)

const (
	greeting = "AMQP\x00\x00\x09\x01"
	envelope = 8       // bytes of a frame besides its payload
	maxStart = 8 << 10 // bytes of a connection.start-ok that is looked into
)

// A frame is what its first bytes tell of it.
type frame struct {
	kind    byte
	channel uint16
	size    int64  // envelope included
	method  method // of method and heartbeat frames
	body    uint64 // size of the body that a header frame announces
	name    string // of the connection, in connection.start-ok
}

// A piece is a run of bytes none of which belong to different frames.
type piece struct {
	frame       *frame // nil if the stream is not AMQP
	data        []byte
	first, last bool // in its frame
}

// A scanner cuts a stream into pieces. It takes everything: from where the stream is not AMQP it is raw, and the pieces are
// whatever comes.
type scanner struct {
	greets bool // the stream begins with the greeting
	raw    bool
	frame  frame
	left   int64 // bytes of frame that are still to come
}

// next returns the piece at the start of b. It is empty if b is too short to tell: no more than the start of a frame,
// which the caller keeps until there is more.
func (s *scanner) next(b []byte) piece {
	switch {
	case s.raw:
		return piece{data: b}
	case len(b) == 0:
		return piece{}
	case s.left > 0:
		return s.cut(b, false)
	case !s.parse(b):
		return piece{}
	case s.frame.size == 0:
		s.raw = true
		return piece{data: b}
	}
	s.left, s.greets = s.frame.size, false
	return s.cut(b, true)
}

// cut takes of b what belongs to the current frame.
func (s *scanner) cut(b []byte, first bool) piece {
	n := min(int64(len(b)), s.left)
	s.left -= n
	if s.left == 0 && s.frame.kind != greetingFrame && b[n-1] != frameEnd {
		s.raw = true // from here on
	}
	return piece{frame: &s.frame, data: b[:n], first: first, last: s.left == 0}
}

// parse reads the start of a frame, and reports whether b is enough of it. A frame without a size is none.
func (s *scanner) parse(b []byte) (enough bool) {
	f := &s.frame
	*f = frame{}
	if s.greets {
		n := min(len(b), len(greeting))
		if string(b[:n]) != greeting[:n] {
			return true
		}
		f.kind, f.size = greetingFrame, int64(len(greeting))
		return n == len(greeting)
	}
	switch b[0] {
	case methodFrame, headerFrame, bodyFrame, heartbeatFrame:
	default:
		return true
	}
	if len(b) < envelope-1 {
		return false
	}
	size, payload := int64(word(b[3:]))+envelope, b[envelope-1:]
	f.kind, f.channel = b[0], binary.BigEndian.Uint16(b[1:])
	switch f.kind {
	case methodFrame:
		return f.parseMethod(size, payload)
	case headerFrame: // class, weight, size of the body, flags
		if size < envelope+14 {
			return true
		}
		if len(payload) < 12 {
			return false
		}
		f.body = binary.BigEndian.Uint64(payload[4:])
	case heartbeatFrame:
		f.method = heartbeat
	}
	f.size = size
	return true
}

func (f *frame) parseMethod(size int64, payload []byte) (enough bool) {
	if size < envelope+4 {
		return true
	}
	if len(payload) < 4 {
		return false
	}
	f.method = method(word(payload))
	if args := size - envelope; f.method == startOK && size <= maxStart {
		if int64(len(payload)) < args {
			return false
		}
		f.name = connectionName(payload[4:args])
	}
	f.size = size
	return true
}

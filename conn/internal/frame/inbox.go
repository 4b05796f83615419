package frame

import "unsafe"

const (
	maxBody = 512 << 20 // the longest body that is taken: RabbitMQ's own upper limit for max_message_size
	small   = 1 << 10   // the most that header and body may have to share their memory: whoever keeps a part of one keeps both
)

// An Event is what a frame has completed.
type Event uint8

// The events. The fields of the [Inbox] tell the rest.
const (
	None     Event = iota // there is more to come
	Delivery              // Tag, Redelivered and the message
	Return                // Code, Reason and the message
	Ack                   // Tag and Multiple
	Nack                  // the same
	QosOK                 // nothing
)

// An Inbox puts together what the broker sends on one channel. What it holds is valid until the next frame, except for
// strings, headers and body. Headers are not to be changed: messages that have the same may share them. The body is new for each, and
// belongs to whoever takes it.
type Inbox struct {
	MostBody int // bytes that are kept of a body, 0 for all of them

	Tag         uint64
	Redelivered bool
	Multiple    bool
	Code        uint16
	Reason      string
	Exchange    string
	Key         string
	Properties
	Body []byte

	message Event  // the message that is on its way: Delivery, Return or None
	header  bool   // its header is still to come
	left    uint64 // of its body
	tables  tables
}

// Known reports whether a method is one that an inbox takes.
func Known(id ID) bool {
	return id == BasicDeliver || id == BasicReturn || id == BasicAck || id == BasicNack || id == BasicQosOK
}

// Next takes the next frame: a method that is Known, a header or a body.
func (b *Inbox) Next(typ uint8, payload []byte) (Event, error) {
	switch {
	case typ == Method && b.message == None:
		return b.method(payload)
	case typ == Header && b.message != None && b.header:
		return b.head(payload)
	case typ == Body && b.message != None && !b.header:
		return b.body(payload)
	}
	return None, ErrMalformed
}

func (b *Inbox) method(payload []byte) (event Event, err error) {
	id := MethodID(payload)
	c := cursor[[]byte]{rest: payload[min(4, len(payload)):]}
	switch id {
	case BasicDeliver:
		c.short() // the consumer: there is one for each channel
		b.Tag = c.uint64()
		b.Redelivered = c.octet()&1 != 0
		b.route(&c)
		b.message, b.header = Delivery, true
	case BasicReturn:
		b.Code = c.uint16()
		b.Reason = string(c.short())
		b.route(&c)
		b.message, b.header = Return, true
	case BasicAck, BasicNack:
		b.Tag = c.uint64()
		b.Multiple = c.octet()&1 != 0
		if event = Ack; id == BasicNack {
			event = Nack
		}
	case BasicQosOK:
		event = QosOK
	default:
		return None, ErrMalformed
	}
	if c.bad {
		return None, ErrMalformed
	}
	return event, nil
}

// route reads exchange and key, which are mostly those of the message before.
func (b *Inbox) route(c *cursor[[]byte]) {
	if exchange := c.short(); string(exchange) != b.Exchange {
		b.Exchange = string(exchange)
	}
	if key := c.short(); string(key) != b.Key {
		b.Key = string(key)
	}
}

func (b *Inbox) head(payload []byte) (Event, error) {
	c := cursor[[]byte]{rest: payload}
	class, weight, size := c.uint16(), c.uint16(), c.uint64()
	if c.bad || class != basic || weight != 0 || size > maxBody {
		return None, ErrMalformed
	}
	n := len(c.rest)
	room := n
	if n <= small && size <= small {
		room += int(size)
	}
	memory := append(make([]byte, 0, room), c.rest...)
	t := text{rest: unsafe.String(unsafe.SliceData(memory), n)} // nobody writes there: the body begins after it
	if readProperties(&t, &b.Properties, &b.tables); t.bad {
		return None, ErrMalformed
	}
	b.header, b.left, b.Body = false, size, memory[n:]
	return b.completed(), nil
}

func (b *Inbox) body(payload []byte) (Event, error) {
	n := uint64(len(payload))
	if n > b.left {
		return None, ErrMalformed
	}
	b.left -= n
	if b.MostBody > 0 {
		payload = payload[:min(len(payload), max(0, b.MostBody-len(b.Body)))]
	}
	if cap(b.Body) == 0 {
		b.Body = make([]byte, 0, len(payload))
	}
	b.Body = append(b.Body, payload...)
	return b.completed(), nil
}

// completed reports the message if all of it is there.
func (b *Inbox) completed() (event Event) {
	if b.left > 0 {
		return None
	}
	event, b.message = b.message, None
	return event
}

// CloseReason reads why the broker closes a channel or a connection, from the payload of that method.
func CloseReason(payload []byte) (code int, reason string) {
	c := cursor[[]byte]{rest: payload[min(4, len(payload)):]}
	code = int(c.uint16())
	return code, string(c.short())
}

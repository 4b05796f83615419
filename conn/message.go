package conn

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// A Message is what is published and delivered, with the properties of AMQP 0-9-1, section "basic class".
type Message struct {
	Exchange  string // "" is the default exchange, which routes by queue name
	Key       string
	Mandatory bool // return it if no queue takes it

	// ConfirmRouted lets the confirmation of a transient message say less, for much less of the broker's work: that it is on
	// its way into its queues, and will be there before whatever is written after the confirmation takes effect. It is lost
	// only if one of their nodes fails at that moment. That a queue refuses it may not be told.
	ConfirmRouted bool
	// ConfirmLater lets a confirmation of that kind wait up to two milliseconds for others, with which it shares the work.
	ConfirmLater bool

	Persistent      bool // write it to disk where the queue is durable
	ContentType     string
	ContentEncoding string
	CorrelationID   string
	ReplyTo         string
	MessageID       string
	Type            string
	UserID          string // checked by the broker against the connection's user
	AppID           string
	Expiration      string // milliseconds in decimal digits; "" for none, "0" for: now or never
	Priority        uint8
	Timestamp       time.Time      // whole seconds on the wire
	Headers         map[string]any // string, bool, int64, float64, []byte, time.Time, nil, and []any of them; others only come in
	Body            []byte
}

const (
	maxShortString = 255          // AMQP 0-9-1, section 4.2.5.3
	maxExpiration  = 315360000000 // ten years in milliseconds; RabbitMQ refuses more
	maxProperties  = 64 << 10     // well inside the one frame of 131072 bytes that must hold them
	maxDepth       = 16           // lists inside of lists; a reader that uses the library loses its connection from 32

	// valueSize is the most that a value takes on the wire, its text and the length of its name aside. As each value
	// counts for as much, maxProperties also keeps their number below 8192: more costs such a reader its connection.
	valueSize = 9
)

// Validate reports what in m itself would make the broker or a library close a channel or a whole connection, here or
// where m is received. Only the broker knows whether the exchange exists, and whose the user id is. The error is
// [ErrInvalid], names the field and does not show its value.
func (m *Message) Validate() error {
	_, err := m.check()
	return err
}

// check is Validate; it returns the bytes of properties and headers as well.
func (m *Message) check() (size int, err error) {
	for _, f := range [...]struct{ name, value string }{
		{"exchange", m.Exchange}, {"routing key", m.Key}, {"content type", m.ContentType},
		{"content encoding", m.ContentEncoding}, {"correlation id", m.CorrelationID}, {"reply-to", m.ReplyTo},
		{"message id", m.MessageID}, {"type", m.Type}, {"user id", m.UserID}, {"app id", m.AppID}, {"expiration", m.Expiration},
	} {
		if len(f.value) > maxShortString {
			return 0, fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrInvalid, f.name, len(f.value), maxShortString)
		}
		size += len(f.value)
	}
	if m.Expiration != "" {
		if n, err := strconv.ParseUint(m.Expiration, 10, 64); err != nil || n > maxExpiration {
			return 0, fmt.Errorf("%w: expiration must be 0 to %d milliseconds in digits", ErrInvalid, int64(maxExpiration))
		}
	}
	for name, value := range m.Headers {
		if len(name) > maxShortString {
			return 0, fmt.Errorf("%w: a header name has %d bytes, at most %d are allowed", ErrInvalid, len(name), maxShortString)
		}
		n, err := headerSize(value, maxDepth)
		if err != nil {
			return 0, fmt.Errorf("%w: header %q: %w", ErrInvalid, name, err)
		}
		if _, list := value.([]any); !list && (name == "CC" || name == "BCC") {
			return 0, fmt.Errorf("%w: header %s must be a list of routing keys", ErrInvalid, name)
		}
		size += len(name) + n
	}
	if size > maxProperties {
		return 0, fmt.Errorf("%w: properties and headers have %d bytes, at most %d are allowed", ErrInvalid, size, maxProperties)
	}
	return size, nil
}

func headerSize(value any, depth int) (int, error) {
	switch v := value.(type) {
	case nil, bool, int64, float64, time.Time:
		return valueSize, nil
	case string:
		return valueSize + len(v), nil
	case []byte:
		return valueSize + len(v), nil
	case []any:
		if depth == 0 {
			return 0, fmt.Errorf("more than %d lists inside of each other", maxDepth)
		}
		size := valueSize
		for _, e := range v {
			n, err := headerSize(e, depth-1)
			if err != nil {
				return 0, err
			}
			size += n
		}
		return size, nil
	default:
		// An int would be cut to 32 bits on the wire, and the library refuses most other types only after it has
		// written half of the message.
		return 0, fmt.Errorf("a value of type %T cannot be sent", value)
	}
}

// A Delivery is a message that a consumer received. Its headers are not to be changed: others may share them.
//
// It belongs to its session: once that is over, Ack and Nack fail with [ErrClosed], and the broker delivers the message again,
// to someone.
type Delivery struct {
	Message
	Redelivered bool // an earlier delivery of it was not acknowledged

	settler settler // nil: delivered without acknowledgement
	settled atomic.Bool
}

// A settler answers for a delivery, once.
type settler interface {
	settle(ack, requeue bool) error
}

type settlerFunc func(ack, requeue bool) error

func (f settlerFunc) settle(ack, requeue bool) error { return f(ack, requeue) }

// NewDelivery makes a delivery that settle answers for, or nobody if that is nil. It is for implementations of [Session].
func NewDelivery(m Message, redelivered bool, settle func(ack, requeue bool) error) *Delivery {
	d := &Delivery{Message: m, Redelivered: redelivered}
	if settle != nil {
		d.settler = settlerFunc(settle)
	}
	return d
}

// Ack tells the broker that the message is done with. A second Ack or Nack fails with [ErrSettled] and is not sent: the
// broker would close the channel.
func (d *Delivery) Ack() error { return d.end(true, false) }

// Nack gives the message back: to the queue if requeue, else to its dead-letter address.
func (d *Delivery) Nack(requeue bool) error { return d.end(false, requeue) }

func (d *Delivery) end(ack, requeue bool) error {
	if d.settled.Swap(true) {
		return ErrSettled
	}
	if d.settler == nil {
		return nil // delivered without acknowledgement
	}
	return d.settler.settle(ack, requeue)
}

// A Return is a mandatory message that found no queue.
type Return struct {
	Message
	Code   int // 312: no route
	Reason string
}

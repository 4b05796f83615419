package conn

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// A reader is the reading side of a line. It runs on the goroutine of the library that reads: for as long as what comes is
// for a lane, Read does not return.
//
// The library has seen each frame that is its own before anything behind it is looked at. So what opens a channel, or ends
// a consumer, takes effect in the order of the broker.
type reader struct {
	conn   net.Conn
	pace   pace
	lanes  lanes
	closed func(*lane) // told before the library that the broker has closed a channel
	ready  chan struct{}

	buf         []byte // the bytes from first to last are to be read
	first, last int
	pass        int // bytes from first on that the library gets, come what may

	farewell atomic.Pointer[Error] // why the broker closes the connection

	failed    func(error)
	heartbeat time.Duration
	extended  time.Time
}

func (r *reader) init(c net.Conn, closed func(*lane)) {
	r.conn, r.closed, r.ready = c, closed, make(chan struct{})
	r.pace.start = time.Now()
	r.buf = make([]byte, frameMax)
}

// attach sets what is only known after the handshake. It comes before the first lane.
func (r *reader) attach(failed func(error), heartbeat time.Duration) {
	r.failed, r.heartbeat = failed, heartbeat
	close(r.ready)
}

// Read reads what is for the library.
func (r *reader) Read(b []byte) (int, error) {
	for r.pass == 0 {
		if err := r.frame(); err != nil {
			return 0, err
		}
	}
	if r.first == r.last {
		if err := r.fill(1); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.buf[r.first:r.last][:min(r.pass, r.last-r.first)])
	r.first += n
	r.pass -= n
	return n, nil
}

// frame looks at the next frame: it is handed to its lane, or left to the library.
func (r *reader) frame() error {
	if err := r.fill(frame.HeadSize); err != nil {
		return err
	}
	head := frame.ParseHead(r.buf[r.first:])
	size := head.Len()
	lane := r.lanes.get(head.Channel)
	if lane == nil {
		r.pass = size
		return r.overhear(head, size)
	}
	if size > len(r.buf) && head.Type == frame.Header {
		return r.skim(lane, size)
	}
	if size > len(r.buf) {
		return r.malformed(amqp.ErrFrameTooLarge)
	}
	if err := r.fill(size); err != nil {
		return err
	}
	payload, err := frame.Payload(r.buf[r.first : r.first+size])
	if err != nil {
		return r.malformed(amqp.ErrFrame)
	}
	if id := frame.MethodID(payload); head.Type == frame.Method && !frame.Known(id) {
		r.ends(lane, id, payload)
		r.pass = size
		return nil
	}
	event, err := lane.inbox.Next(head.Type, payload)
	if err != nil {
		return r.malformed(amqp.ErrSyntax)
	}
	r.first += size
	if event != frame.None {
		lane.take(event)
	}
	return nil
}

// overhear takes note of a farewell, which is the library's. That answers, and if it cannot any more, since the broker has hung up, that is
// what it may say has ended the connection.
func (r *reader) overhear(head frame.Head, size int) error {
	if head.Channel != 0 || head.Type != frame.Method || size > len(r.buf) {
		return nil
	}
	if err := r.fill(size); err != nil {
		return err
	}
	payload, err := frame.Payload(r.buf[r.first : r.first+size])
	if err == nil && frame.MethodID(payload) == frame.ConnectionClose {
		code, reason := frame.CloseReason(payload)
		r.farewell.Store(&Error{Code: code, Reason: reason})
	}
	return nil
}

// skim takes a header that is longer than was agreed, and nothing of it but how long the body is. RabbitMQ adds to headers, such as
// the history of a dead letter, and does not look how long they are then. A sender could end each session that such a message
// is delivered to; so it arrives without properties.
func (r *reader) skim(c *lane, size int) error {
	if err := r.fill(frame.HeadSize + frame.LeastHeader); err != nil {
		return err
	}
	least := append([]byte(nil), r.buf[r.first+frame.HeadSize:][:frame.LeastHeader]...)
	clear(least[frame.LeastHeader-2:]) // the flags
	event, err := c.inbox.Next(frame.Header, least)
	if err != nil {
		return r.malformed(amqp.ErrSyntax)
	}
	var last byte
	for size > 0 {
		if err := r.fill(1); err != nil {
			return err
		}
		n := min(size, r.last-r.first)
		r.first, size, last = r.first+n, size-n, r.buf[r.first+n-1]
	}
	if last != frame.End {
		return r.malformed(amqp.ErrFrame)
	}
	if event != frame.None {
		c.take(event)
	}
	return nil
}

// ends tells a lane that the broker has ended its channel or its consumer. The library answers.
func (r *reader) ends(c *lane, id frame.ID, payload []byte) {
	switch id {
	case frame.ChannelClose:
		r.closed(c)
		r.lanes.remove(c) // its number may be another's now
		code, reason := frame.CloseReason(payload)
		c.over(&Error{Code: code, Reason: reason})
	case frame.BasicCancel:
		c.over(ErrCancelled)
	}
}

// malformed ends the session: there is no telling where the next frame begins. The library gets the error that it would
// have had itself.
func (r *reader) malformed(err *amqp.Error) error {
	r.failed(fmt.Errorf("connection lost: %w: %s", ErrUnreadable, err.Reason))
	return err
}

// fill reads until there are n bytes. One read takes as much as there is.
func (r *reader) fill(n int) error {
	if r.first == r.last {
		r.first, r.last = 0, 0
	}
	if r.first+n > len(r.buf) {
		r.last = copy(r.buf, r.buf[r.first:r.last])
		r.first = 0
	}
	for r.last-r.first < n {
		if r.first == r.last {
			time.Sleep(r.pace.gathering())
		}
		got, err := r.conn.Read(r.buf[r.last:])
		r.last += got
		if err != nil && r.last-r.first < n {
			if err == io.EOF && r.last > r.first {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		r.extend()
	}
	return nil
}

// extend gives the broker time for its next sign of life. The library does so for the frames that it sees.
func (r *reader) extend() {
	select {
	case <-r.ready:
	default:
		return // the handshake has a deadline of its own
	}
	if now := time.Now(); r.heartbeat > 0 && now.Sub(r.extended) > r.heartbeat/8 {
		r.conn.SetReadDeadline(now.Add(r.heartbeat * 3 / 2))
		r.extended = now
	}
}

package chaos

import (
	"errors"
	"fmt"
	"time"
)

// A methodFault is a fault that waits for a method.
type methodFault interface {
	Fault
	awaits() (method string, nth int)
}

// Drop swallows a method, whole. All else passes, so the stream stays legal, but the two sides no longer agree:
//
//   - basic.publish: the message is lost. On a channel with confirms the broker's numbers lag behind by one from then on.
//   - basic.ack, basic.nack to broker: the message stays unacknowledged, and is delivered again when the channel ends.
//   - basic.ack, basic.nack to client: the confirm never comes, whether the message was taken or not.
//   - basic.deliver: the message stays unacknowledged at a consumer that never saw it. Its tag is a gap.
//   - basic.return: an unroutable message looks as if it had been taken, since its confirm still comes.
//   - basic.cancel to client: a consumer does not learn that its queue is gone. connection.blocked: a publisher does not
//     learn of an alarm, and blocks in its socket.
//   - heartbeat: the receiver ends the connection, unless there is other traffic.
//   - the answer to a synchronous method, such as queue.declare-ok: the caller waits for ever, or as long as it cares to.
//
// It bites once for each method.
type Drop struct {
	Method string    `json:"method"`
	Nth    int       `json:"nth,omitempty"`
	Dir    Direction `json:"dir,omitzero"`
	Conn   string    `json:"conn,omitempty"`
}

func (f Drop) where() (Direction, string) { return f.Dir, f.Conn }
func (f Drop) awaits() (string, int)      { return f.Method, f.Nth }

// String implements [Fault].
func (f Drop) String() string { return say(f, "drop %s", pick(f.Method, f.Nth)) }

// Validate implements [Fault].
func (f Drop) Validate() error { return errors.Join(validateMethod(f.Method, f.Nth), f.Dir.validate()) }

// Delay holds a method, and all that follows on the same channel in that direction, since the order of a channel's
// frames is what AMQP is made of. Other channels pass, heartbeats among them (they are channel 0). A channel that has
// more than a mebibyte to hold makes the sender wait, and with it all other channels.
//
// It shows as what comes late is late: a confirm after the reply, an acknowledgement after the next delivery. It bites
// once for each method. Healing it lets go of what it holds.
type Delay struct {
	Method string
	For    time.Duration
	Nth    int
	Dir    Direction
	Conn   string
}

func (f Delay) where() (Direction, string) { return f.Dir, f.Conn }
func (f Delay) awaits() (string, int)      { return f.Method, f.Nth }

// String implements [Fault].
func (f Delay) String() string { return say(f, "delay %s by %v", pick(f.Method, f.Nth), f.For) }

// Validate implements [Fault].
func (f Delay) Validate() error {
	var err error
	if f.For <= 0 || f.For > longest {
		err = fmt.Errorf("for must be positive, up to 24h, got %v", f.For)
	}
	return errors.Join(validateMethod(f.Method, f.Nth), err, f.Dir.validate())
}

// Duplicate sends a method twice, the copy right after the original. Copies that take more than 16 MiB are not made.
//
//   - basic.publish: the message is in the queue twice. On a channel with confirms the broker's numbers run ahead by one
//     from then on: each publish is confirmed by the confirm of the one before it.
//   - basic.ack, basic.nack to broker: 406, the channel is closed, and its unacknowledged messages are delivered again.
//   - basic.deliver: the consumer has it twice, under one tag. If it acknowledges both, the same 406.
//   - basic.ack to client, heartbeat: nothing, with most libraries.
//
// It bites once for each copy.
type Duplicate struct {
	Method string    `json:"method"`
	Nth    int       `json:"nth,omitempty"`
	Dir    Direction `json:"dir,omitzero"`
	Conn   string    `json:"conn,omitempty"`
}

func (f Duplicate) where() (Direction, string) { return f.Dir, f.Conn }
func (f Duplicate) awaits() (string, int)      { return f.Method, f.Nth }

// String implements [Fault].
func (f Duplicate) String() string { return say(f, "duplicate %s", pick(f.Method, f.Nth)) }

// Validate implements [Fault].
func (f Duplicate) Validate() error {
	return errors.Join(validateMethod(f.Method, f.Nth), f.Dir.validate())
}

// Whole lets all bytes of a method pass before a [Cut].
const Whole = -1

// Cut resets a connection, for both sides, at a byte: when so many Bytes of the method have passed, frame headers counted.
// With 0 nothing of it passes, with [Whole] all of it. It does not bite on a method that has fewer.
//
// Without a method it counts all bytes of the direction since the injection, or since the connection began. Nth then
// counts the connections that get so far.
//
// It shows as a lost connection, after which the sender cannot know whether the method has arrived. Half of a frame makes no
// difference to the broker: it drops what is not whole. It bites once for each connection.
type Cut struct {
	Method string    `json:"method,omitempty"`
	Nth    int       `json:"nth,omitempty"`
	Bytes  int       `json:"bytes,omitempty"`
	Dir    Direction `json:"dir,omitzero"`
	Conn   string    `json:"conn,omitempty"`
}

func (f Cut) where() (Direction, string) { return f.Dir, f.Conn }
func (f Cut) awaits() (string, int)      { return f.Method, f.Nth }

// String implements [Fault].
func (f Cut) String() string {
	switch {
	case f.Method == "":
		return say(f, "cut %s after %d bytes", pick("connection", f.Nth), f.Bytes)
	case f.Bytes == Whole:
		return say(f, "cut after %s", pick(f.Method, f.Nth))
	case f.Bytes == 0:
		return say(f, "cut before %s", pick(f.Method, f.Nth))
	}
	return say(f, "cut after %d bytes of %s", f.Bytes, pick(f.Method, f.Nth))
}

// Validate implements [Fault].
func (f Cut) Validate() error {
	err := f.Dir.validate()
	switch {
	case f.Method != "":
		err = errors.Join(err, validateMethod(f.Method, f.Nth))
	case f.Bytes == Whole:
		err = errors.Join(err, errors.New("whole is for a method, and none is named"))
	default:
		err = errors.Join(err, validateNth(f.Nth))
	}
	if f.Bytes < Whole || f.Bytes > farthest {
		err = errors.Join(err, fmt.Errorf("bytes must be 0 to %d, or whole, got %d", farthest, f.Bytes))
	}
	return err
}

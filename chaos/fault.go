package chaos

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A Fault is what goes wrong on the way between clients and a broker: a plain value, to be given to [Proxy.Inject]. All
// kinds are in this package; [AnyFault] writes and reads them as JSON.
//
// Fields that several kinds have mean the same in each:
//
//   - Dir is the direction of the bytes. The zero value is both.
//   - Conn is a part of the names of the connections that are meant: those that clients give as connection_name, in the
//     first frame that they send. Empty for all.
//   - Method is the name of an AMQP method, such as "basic.publish", or "heartbeat". The content header and the body belong
//     to a method that carries content. Frames of other channels that come in between go their own ways.
//   - Nth picks one: the nth since the injection, over all connections. Zero is for each.
//
// Faults that know of methods work on AMQP 0-9-1 in plain text. On anything else, such as TLS, they never bite.
type Fault interface {
	// String says what the fault does, in a few words, for a timeline.
	String() string

	// Validate tells what is wrong with the fields.
	Validate() error

	where() (Direction, string)
}

// A Direction is that of the bytes that a fault is about.
type Direction uint8

// The directions.
const (
	Both     Direction = iota
	ToBroker           // from clients
	ToClient           // from the broker
)

var directions = [...]string{"both ways", "to broker", "to client"}

// String returns the direction in words.
func (d Direction) String() string {
	if int(d) < len(directions) {
		return directions[d]
	}
	return fmt.Sprintf("direction %d", uint8(d))
}

// MarshalText makes a direction readable in JSON.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (d *Direction) UnmarshalText(text []byte) error {
	for i, s := range directions {
		if s == string(text) {
			*d = Direction(i)
			return nil
		}
	}
	return fmt.Errorf("no direction %q: it is one of %q", text, directions)
}

func (d Direction) includes(one Direction) bool { return d == Both || d == one }

func (d Direction) validate() error {
	if int(d) >= len(directions) {
		return fmt.Errorf("no %v", d)
	}
	return nil
}

// say makes the String of a fault from what it does and where.
func say(f Fault, format string, args ...any) string {
	dir, conn := f.where()
	text := fmt.Sprintf(format, args...) + ", " + dir.String()
	if conn != "" {
		text += fmt.Sprintf(", on connections named %q", conn)
	}
	return text
}

// pick says which of several: "each basic.ack", "basic.ack 3".
func pick(what string, nth int) string {
	if nth == 0 {
		return "each " + what
	}
	return fmt.Sprintf("%s %d", what, nth)
}

// longest is how long something can be held, and farthest where a connection can be cut: what is beyond is beyond any run too.
const (
	longest  = 24 * time.Hour
	farthest = 1 << 30
)

func validateMethod(name string, nth int) error {
	switch {
	case name == "":
		return errors.New("no method is named")
	case methods[name] == 0:
		return fmt.Errorf("no method %q", name)
	}
	return validateNth(nth)
}

func validateNth(nth int) error {
	if nth < 0 {
		return fmt.Errorf("nth must be 1 or more, or 0 for each, got %d", nth)
	}
	return nil
}

// plain returns the fault that f is, points to, or holds.
func plain(f Fault) Fault {
	if a, ok := f.(AnyFault); ok {
		return plain(a.Fault)
	}
	if v := reflect.ValueOf(f); v.Kind() == reflect.Pointer && !v.IsNil() {
		return plain(v.Elem().Interface().(Fault))
	}
	return f
}

// kind is the name of a fault's type, as in "half-open".
func kind(f Fault) string {
	var s strings.Builder
	for i, r := range reflect.TypeOf(plain(f)).Name() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			s.WriteByte('-')
		}
		s.WriteRune(r)
	}
	return strings.ToLower(s.String())
}

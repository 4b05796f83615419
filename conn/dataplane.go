package conn

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// The data plane: what carries messages (publish, deliver, return, acknowledgements of both sides) is written and read here,
// without the AMQP library, on the connections and channels that the library has opened. The library does all the rest:
// handshake, heartbeats, channels, declarations, qos, consume, cancel, close. See docs/adr/0016-data-plane.md.
//
// Both sides of a connection are shared by whole frames. A [line] is below the library: it hands on what the library
// writes, between the messages written here, and lets the library read all frames but those that are for a [lane].

// frameMax is the most that a frame may have, its head and end included: what the library asks for by default. The broker may
// ask for less.
const frameMax = 131072

// A line is a network connection that the library and the data plane share.
type line struct {
	net.Conn
	outbox
	reader
}

// A lane is a channel whose messages are the data plane's.
type lane struct {
	id     uint16
	inbox  frame.Inbox       // the reader's own
	take   func(frame.Event) // what the inbox has completed; runs on the reader's goroutine, as over does
	over   func(error)       // the broker has closed the channel, or cancelled its consumer
	closed bool              // nothing may be written to it any more; guarded by outbox.mu
}

func newLine(c net.Conn) *line {
	l := &line{Conn: c}
	l.outbox.init(c)
	l.reader.init(c, l.bar)
	return l
}

// attach tells who is to know when the line fails, and how often the broker shows that it is alive.
func (l *line) attach(failed func(error), heartbeat time.Duration) {
	l.outbox.attach(failed)
	l.reader.attach(failed, heartbeat)
}

// bar sees to it that nothing more is written on a channel that the broker has closed: the broker would close the
// connection, and with another reason.
func (l *line) bar(c *lane) {
	l.outbox.mu.Lock()
	defer l.outbox.mu.Unlock()
	c.closed = true
}

// Read and Write are the library's.
func (l *line) Read(b []byte) (int, error)  { return l.reader.Read(b) }
func (l *line) Write(b []byte) (int, error) { return l.outbox.Write(b) }

// Close ends the line for all who write. It is the library's, which has the broker's answer to its own close, or does not wait for
// one.
func (l *line) Close() error {
	l.outbox.end(net.ErrClosed)
	return l.Conn.Close()
}

// wait waits for the goroutine that writes, if there is one.
func (l *line) wait() { l.outbox.running.Wait() }

// dataPlaneEnv is the variable that switches the data plane off for a whole program.
const dataPlaneEnv = "RABBITRPC_DATAPLANE"

// dataPlaneByDefault reads the environment.
func dataPlaneByDefault() (on bool, err error) {
	switch v := os.Getenv(dataPlaneEnv); v {
	case "", "on":
		return true, nil
	case "off":
		return false, nil
	default:
		return false, fmt.Errorf("environment variable %s must be on or off, got %q", dataPlaneEnv, v)
	}
}

// lanes are the channels of the data plane, by number.
type lanes struct {
	mu  sync.Mutex // guards all
	all map[uint16]*lane
}

func (l *lanes) get(id uint16) *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[id]
}

func (l *lanes) add(c *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = make(map[uint16]*lane)
	}
	l.all[c.id] = c
}

// remove forgets a channel that was closed, unless its number has been given to another by now.
func (l *lanes) remove(c *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all[c.id] == c {
		delete(l.all, c.id)
	}
}

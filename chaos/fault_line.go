package chaos

import (
	"errors"
	"fmt"
	"time"
)

// Latency makes all that is sent arrive Delay later, give or take a random time up to Jitter, in order. A mebibyte is on
// its way at most, for each connection and direction; who sends more waits.
//
// It shows as slow calls and slow connects, and as nothing else while Delay is well below the heartbeat. It bites once for
// each piece of data.
type Latency struct {
	Delay  time.Duration
	Jitter time.Duration // at most Delay
	Dir    Direction
	Conn   string
}

func (f Latency) where() (Direction, string) { return f.Dir, f.Conn }

// String implements [Fault].
func (f Latency) String() string {
	if f.Jitter == 0 {
		return say(f, "latency %v", f.Delay)
	}
	return say(f, "latency %v±%v", f.Delay, f.Jitter)
}

// Validate implements [Fault].
func (f Latency) Validate() error {
	if f.Delay <= 0 || f.Delay > longest || f.Jitter < 0 || f.Jitter > f.Delay {
		return fmt.Errorf("delay must be positive, up to 24h, and jitter 0 to delay, got %v and %v", f.Delay, f.Jitter)
	}
	return f.Dir.validate()
}

// Bandwidth lets at most so many bytes pass in a second, on each connection and in each direction.
//
// It shows as slow calls, and as blocked writes once the buffers are full. Heartbeats queue behind the data: if that takes
// longer than they allow, a connection is lost. It bites once for each piece that it holds back, 20 a second.
type Bandwidth struct {
	BytesPerSecond int       `json:"bytesPerSecond"`
	Dir            Direction `json:"dir,omitzero"`
	Conn           string    `json:"conn,omitempty"`
}

func (f Bandwidth) where() (Direction, string) { return f.Dir, f.Conn }

// String implements [Fault].
func (f Bandwidth) String() string { return say(f, "%d bytes/s", f.BytesPerSecond) }

// Validate implements [Fault].
func (f Bandwidth) Validate() error {
	if f.BytesPerSecond < 1 {
		return fmt.Errorf("bytes per second must be at least 1, got %d", f.BytesPerSecond)
	}
	return f.Dir.validate()
}

// Stall stops reading, and so lets the buffers of the sender fill up until it is blocked. Nothing is lost: when it is
// healed all goes on its way. New connections are accepted and stalled as well.
//
// It shows as calls that wait. A stall beyond one and a half heartbeats costs the connection; after a shorter one
// nothing is sent again. It bites once for each direction of a connection in which data, or the end of it, is held.
type Stall struct {
	Dir  Direction `json:"dir,omitzero"`
	Conn string    `json:"conn,omitempty"`
}

func (f Stall) where() (Direction, string) { return f.Dir, f.Conn }

// String implements [Fault].
func (f Stall) String() string { return say(f, "stall") }

// Validate implements [Fault].
func (f Stall) Validate() error { return f.Dir.validate() }

// HalfOpen swallows all that is sent on the connections that are open when it is injected, and that they end: the sender
// believes that it was delivered, the receiver that the peer is silent. New connections are spared. A connection that has
// lost something stays dead in that direction after the fault is healed.
//
// It shows as nothing, until heartbeats are missed: at a client after 1.5 of them, at the broker after two to three, in
// which it keeps the exclusive queues and the unacknowledged deliveries of a client that may be back long since. To
// broker only, the client still gets heartbeats, and it is the broker that ends the connection. It bites once for each
// piece of data.
type HalfOpen struct {
	Dir  Direction `json:"dir,omitzero"`
	Conn string    `json:"conn,omitempty"`
}

func (f HalfOpen) where() (Direction, string) { return f.Dir, f.Conn }

// String implements [Fault].
func (f HalfOpen) String() string { return say(f, "half-open") }

// Validate implements [Fault].
func (f HalfOpen) Validate() error { return f.Dir.validate() }

// Reset ends the connections that are open when it is injected, with a TCP reset. With a direction only that side learns of
// it: for the other one the connection is half-open from then on. It happens at once; there is nothing to heal.
//
// It shows as a lost connection: what was on its way may or may not have arrived. It bites once for each connection.
type Reset struct {
	Dir  Direction `json:"dir,omitzero"`
	Conn string    `json:"conn,omitempty"`
}

func (f Reset) where() (Direction, string) { return f.Dir, f.Conn }

// String implements [Fault].
func (f Reset) String() string { return say(f, "reset") }

// Validate implements [Fault].
func (f Reset) Validate() error { return f.Dir.validate() }

// HangUp is as [Reset], but ends the connections as a peer does that closes its socket: with a FIN, and without a
// connection.close.
//
// It shows as an end of file.
type HangUp struct {
	Dir  Direction `json:"dir,omitzero"`
	Conn string    `json:"conn,omitempty"`
}

func (f HangUp) where() (Direction, string) { return f.Dir, f.Conn }

// String implements [Fault].
func (f HangUp) String() string { return say(f, "hang up") }

// Validate implements [Fault].
func (f HangUp) Validate() error { return f.Dir.validate() }

// Refuse closes the proxy's port. Open connections stay.
//
// It shows as "connection refused" to whoever dials, which is how a host answers whose broker is down. The system refuses
// without telling the proxy: it counts as one bite that the port was closed.
type Refuse struct{}

func (f Refuse) where() (Direction, string) { return Both, "" }

// String implements [Fault].
func (f Refuse) String() string { return "refuse connections" }

// Validate implements [Fault].
func (f Refuse) Validate() error { return nil }

// HTTP is what a web server says to AMQP, for an [Impostor].
const HTTP = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// An Impostor takes new connections in the broker's place: it says what it says, and then nothing more. The zero value
// accepts and stays silent. Connections that it has taken stay with it when it is healed.
//
// It shows as a failed handshake: at once if it says something or closes, else when the handshake times out. It bites
// once for each connection.
type Impostor struct {
	Says   string `json:"says,omitempty"`
	Closes bool   `json:"closes,omitempty"` // afterwards
}

func (f Impostor) where() (Direction, string) { return Both, "" }

// String implements [Fault].
func (f Impostor) String() string {
	text := "accept and say nothing"
	if f.Says != "" {
		text = fmt.Sprintf("accept and say %.40q", f.Says)
	}
	if f.Closes {
		text += ", then close"
	}
	return text
}

// Validate implements [Fault].
func (f Impostor) Validate() error {
	if len(f.Says) > 4096 {
		return errors.New("an impostor says 4096 bytes at most")
	}
	return nil
}

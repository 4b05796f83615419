package chaos_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

const (
	greeting = "AMQP\x00\x00\x09\x01"
	soon     = 20 * time.Second // for what takes no time
)

func proxy(t testing.TB, brokerURL string) *chaos.Proxy {
	t.Helper()
	p, err := chaos.NewProxy(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// A rig is a proxy before a broker that does nothing.
type rig struct {
	*chaos.Proxy
	t      testing.TB
	broker net.Listener
}

func newRig(t testing.TB) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &rig{Proxy: proxy(t, "amqp://"+l.Addr().String()), t: t, broker: l}
}

// dial opens a connection to the proxy.
func (r *rig) dial() (*net.TCPConn, error) {
	u, err := url.Parse(r.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := net.DialTimeout("tcp", u.Host, soon)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(soon))
	return c.(*net.TCPConn), nil
}

// A line is a connection through the proxy, with both of its ends.
type line struct {
	t              testing.TB
	client, broker *net.TCPConn
}

// connect opens a connection on which AMQP is spoken: the client has said so, and its name.
func (r *rig) connect(name string) *line {
	r.t.Helper()
	l := r.connectRaw()
	l.pass(chaos.ToBroker, slices.Concat([]byte(greeting), startOK(name)))
	return l
}

func (r *rig) connectRaw() *line {
	r.t.Helper()
	client, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	broker, err := r.broker.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { broker.Close() })
	broker.SetDeadline(time.Now().Add(soon))
	return &line{r.t, client, broker.(*net.TCPConn)}
}

// ends returns who sends and who receives in a direction.
func (l *line) ends(dir chaos.Direction) (from, to *net.TCPConn) {
	if dir == chaos.ToBroker {
		return l.client, l.broker
	}
	return l.broker, l.client
}

func (l *line) send(dir chaos.Direction, b []byte) {
	l.t.Helper()
	from, _ := l.ends(dir)
	if _, err := from.Write(b); err != nil {
		l.t.Fatalf("send %v: %v", dir, err)
	}
}

// expect fails the test unless b is what comes next.
func (l *line) expect(dir chaos.Direction, b []byte) {
	l.t.Helper()
	_, to := l.ends(dir)
	got := make([]byte, len(b))
	n, err := io.ReadFull(to, got)
	if err != nil || string(got) != string(b) {
		l.t.Fatalf("%v: got %q, %v, want %q", dir, got[:n], err, b)
	}
}

func (l *line) pass(dir chaos.Direction, b []byte) {
	l.t.Helper()
	l.send(dir, b)
	l.expect(dir, b)
}

// last fails the test unless b is all that still comes, up to an end of that kind.
func (l *line) last(dir chaos.Direction, b []byte, end error) {
	l.t.Helper()
	_, to := l.ends(dir)
	got, err := io.ReadAll(to)
	if err == nil {
		err = io.EOF
	}
	if string(got) != string(b) || !errors.Is(err, end) {
		l.t.Fatalf("%v: got %q and %v, want %q and %v", dir, got, err, b, end)
	}
}

const reset = syscall.ECONNRESET

// until waits until ok.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(soon); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within %v", what, soon)
		}
	}
}

func bites(t testing.TB, in *chaos.Injection, want int) {
	t.Helper()
	until(t, fmt.Sprintf("%v: want %d", in, want), func() bool { return in.Bites() >= want })
	if got := in.Bites(); got != want {
		t.Errorf("%v, want %d", in, want)
	}
}

// The frames of AMQP, by hand.

func frame(kind byte, channel uint16, payload string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xce)
}

func method(class, number byte, channel uint16, args string) []byte {
	return frame(1, channel, string([]byte{0, class, 0, number})+args)
}

func ack(channel uint16, tag byte) []byte {
	return method(60, 80, channel, string(binary.BigEndian.AppendUint64(nil, uint64(tag)))+"\x00")
}

func startOK(name string) []byte {
	size := func(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
	table := "\x0fconnection_nameS" + size(len(name)) + name
	return method(10, 11, 0, size(len(table))+table+"\x05PLAIN"+size(12)+"\x00guest\x00guest\x05en_US")
}

// content returns the frames of a method with header and body.
func content(number byte, channel uint16, bodies ...string) (frames [][]byte) {
	size := 0
	for _, b := range bodies {
		size += len(b)
	}
	header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(size))
	frames = append(frames, method(60, number, channel, "\x00\x00\x00\x03key\x00"), frame(2, channel, string(header)+"\x00\x00"))
	for _, b := range bodies {
		frames = append(frames, frame(3, channel, b))
	}
	return frames
}

var (
	beat   = frame(8, 0, "")
	commit = method(90, 20, 9, "") // on a channel that no fault is for
)

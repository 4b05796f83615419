package frame_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// A library is the AMQP library with a broker that is played by the test: what the two codecs make of the same bytes can be
// compared.
type library struct {
	tb         testing.TB
	broker     net.Conn
	frames     chan []byte // that the library has written on its channel
	ch         *amqp.Channel
	deliveries <-chan amqp.Delivery
}

const channel = 1

// idle stops the library from minding that nothing is said for a while.
const idle = time.Hour

func open(tb testing.TB) *library {
	tb.Helper()
	own, broker := net.Pipe()
	l := &library{tb: tb, broker: broker, frames: make(chan []byte, 64)}
	var serving sync.WaitGroup
	serving.Go(l.serve)
	c, err := amqp.Open(own, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{}}, Vhost: "/", Heartbeat: idle, FrameSize: 131072,
	})
	check(tb, err)
	tb.Cleanup(func() {
		broker.Close()
		c.Close()
		serving.Wait()
	})
	l.ch, err = c.Channel()
	check(tb, err)
	l.deliveries, err = l.ch.Consume("q", "c", true, false, false, false, nil)
	check(tb, err)
	return l
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// method is a method frame of a channel, with arguments as they are on the wire.
func method(channel uint16, class, id byte, args string) []byte {
	return build(frame.Method, channel, string([]byte{0, class, 0, id})+args)
}

func build(typ byte, channel uint16, payload string) []byte {
	b := []byte{typ, byte(channel >> 8), byte(channel)}
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xCE)
}

// answers is what a broker says to the methods that the library calls here.
var answers = map[frame.ID][]byte{
	10<<16 | 11: method(0, 10, 30, "\x07\xff\x00\x02\x00\x00\x00\x00"), // start-ok: tune
	10<<16 | 40: method(0, 10, 41, "\x00"),                             // open: open-ok
	20<<16 | 10: method(channel, 20, 11, "\x00\x00\x00\x00"),           // channel.open: open-ok
	60<<16 | 20: method(channel, 60, 21, "\x01c"),                      // consume: consume-ok
	60<<16 | 10: method(channel, 60, 11, ""),                           // qos: qos-ok
	10<<16 | 50: method(0, 10, 51, ""),                                 // close: close-ok
}

func (l *library) serve() {
	defer close(l.frames)
	in := bufio.NewReader(l.broker)
	io.ReadFull(in, make([]byte, 8)) // the greeting
	l.broker.Write(method(0, 10, 10, "\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US"))
	for {
		f := readFrame(in)
		if f == nil {
			return
		}
		payload, _ := frame.Payload(f)
		if frame.MethodID(payload) == frame.BasicQos {
			l.frames <- f // and the answer
		}
		if answer := answers[frame.MethodID(payload)]; f[0] == frame.Method && answer != nil {
			l.broker.Write(answer)
		} else if frame.ParseHead(f).Channel == channel {
			l.frames <- f
		}
	}
}

func readFrame(in *bufio.Reader) []byte {
	head, err := in.Peek(frame.HeadSize)
	if err != nil {
		return nil
	}
	f := make([]byte, int(frame.ParseHead(head).Size)+frame.Overhead)
	if _, err := io.ReadFull(in, f); err != nil {
		return nil
	}
	return f
}

// publish has the library write a message, and returns the payloads of its method, its header and its body.
func (l *library) publish(exchange, key string, mandatory bool, p amqp.Publishing) (method, header []byte, bodies [][]byte) {
	l.tb.Helper()
	check(l.tb, l.ch.Publish(exchange, key, mandatory, false, p))
	next := func() []byte {
		payload, err := frame.Payload(<-l.frames)
		check(l.tb, err)
		return payload
	}
	method, header = next(), next()
	for left := len(p.Body); left > 0; {
		bodies = append(bodies, next())
		left -= len(bodies[len(bodies)-1])
	}
	return method, header, bodies
}

// receive has the library read the frames of a message. It reports false if that has ended its connection.
func (l *library) receive(frames []byte) (amqp.Delivery, bool) {
	go l.broker.Write(frames)
	select {
	case d, ok := <-l.deliveries:
		return d, ok
	case <-time.After(5 * time.Second):
		l.tb.Errorf("the library has neither delivered nor ended: %x", frames)
		return amqp.Delivery{}, false
	}
}

// deliver is a deliver method with these routing arguments.
func deliver(exchange, key string) []byte {
	short := func(s string) string { return string([]byte{byte(len(s))}) + s }
	return method(channel, 60, 60, "\x01c"+"\x00\x00\x00\x00\x00\x00\x00\x07"+"\x01"+short(exchange)+short(key))
}

package conn_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/internal/frame"
)

// A rogue is a broker that opens what it is asked to, and then says something else than a broker would.
type rogue struct {
	channels uint16                      // that it allows
	says     func(channel uint16) string // after the answer to consume
	leaves   bool                        // after that
	open     atomic.Int64                // channels
}

// dial opens a session with the broker.
func (r *rogue) dial(t *testing.T, opts ...conn.Option) conn.Session {
	t.Helper()
	dialer := conn.WithDialer(func(context.Context, string, string) (net.Conn, error) {
		own, broker := net.Pipe()
		go func() {
			defer broker.Close()
			r.serve(broker)
		}()
		return own, nil
	})
	m, err := conn.Open(t.Context(), "amqp://rogue", append([]conn.Option{quiet, dialer}, opts...)...)
	must(t, err)
	t.Cleanup(func() { m.Close(context.Background()) })
	s, err := m.Dial(t.Context())
	must(t, err)
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// answers are what it says to methods, by the class and the number of these.
var answers = map[frame.ID]func(channel uint16) []byte{
	10<<16 | 40: func(c uint16) []byte { return method(c, 10, 41, "\x00") },             // open
	10<<16 | 50: func(c uint16) []byte { return method(c, 10, 51, "") },                 // close
	20<<16 | 10: func(c uint16) []byte { return method(c, 20, 11, "\x00\x00\x00\x00") }, // channel.open
	20<<16 | 40: func(c uint16) []byte { return method(c, 20, 41, "") },                 // channel.close
	60<<16 | 10: func(c uint16) []byte { return method(c, 60, 11, "") },                 // qos
	60<<16 | 20: func(c uint16) []byte { return method(c, 60, 21, "\x09rabbitrpc") },    // consume
	85<<16 | 10: func(c uint16) []byte { return method(c, 85, 11, "") },                 // confirm
}

func (r *rogue) serve(c net.Conn) {
	in := bufio.NewReader(c)
	io.ReadFull(in, make([]byte, 8)) // the greeting
	c.Write(method(0, 10, 10, "\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US"))
	for {
		head, err := in.Peek(frame.HeadSize)
		if err != nil {
			return
		}
		b := make([]byte, frame.ParseHead(head).Len())
		if _, err := io.ReadFull(in, b); err != nil || b[0] != frame.Method {
			continue
		}
		channel, id := frame.ParseHead(b).Channel, frame.MethodID(b[frame.HeadSize:])
		switch id {
		case 10<<16 | 11: // start-ok
			c.Write(method(0, 10, 30, string(binary.BigEndian.AppendUint16(nil, r.channels))+"\x00\x02\x00\x00\x00\x0a"))
		case 20<<16 | 10:
			r.open.Add(1)
		case 20<<16 | 40:
			r.open.Add(-1)
		}
		if answer := answers[id]; answer != nil {
			c.Write(answer(channel))
		}
		if id == 60<<16|20 {
			c.Write([]byte(r.says(channel)))
			if r.leaves {
				return
			}
		}
	}
}

// method is a method frame, with arguments as they are on the wire.
func method(channel uint16, class, id byte, args string) []byte {
	return build(frame.Method, channel, string([]byte{0, class, 0, id})+args)
}

func build(typ byte, channel uint16, payload string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{typ}, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xce)
}

// delivery is a message with the body "x", without its last frame if so.
func delivery(channel uint16, cut bool) string {
	m := method(channel, 60, 60, "\x09rabbitrpc\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01e\x01k")
	m = append(m, build(frame.Header, channel, "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00")...)
	if !cut {
		m = append(m, build(frame.Body, channel, "x")...)
	}
	return string(m)
}

// A broker that does not keep to the protocol costs a session its life, with a reason, or nothing; and never more. One that says
// nothing more is lost after one and a half heartbeats.
func TestRogueBroker(t *testing.T) {
	const unreadable, silent = "received what cannot be read", "i/o timeout"
	for _, tt := range []struct {
		name string
		says func(channel uint16) string
		want string // in the reason, with the data plane
	}{
		{"nothing", func(uint16) string { return "" }, silent},
		{"half a frame", func(c uint16) string { return delivery(c, false)[:30] }, silent},
		{"half a message", func(c uint16) string { return delivery(c, true) }, silent},
		{"header alone", func(c uint16) string { return string(build(frame.Header, c, "\x00\x3c")) }, unreadable},
		{"body alone", func(c uint16) string { return string(build(frame.Body, c, "x")) }, unreadable},
		{"more body than announced", func(c uint16) string { return delivery(c, true) + string(build(frame.Body, c, "xy")) }, unreadable},
		{"endless bodies of nothing", func(c uint16) string {
			return delivery(c, true) + strings.Repeat(string(build(frame.Body, c, "")), 1000)
		}, silent},
		{"another message in a message", func(c uint16) string { return delivery(c, true) + delivery(c, false) }, unreadable},
		{"message on no channel", func(c uint16) string { return delivery(c+1, false) }, "channel that is not open"},
		{"message on the connection", func(uint16) string { return delivery(0, false) }, silent},
		{"frame of no type", func(c uint16) string { return string(build(7, c, "")) }, unreadable},
		{"heartbeat on a channel", func(c uint16) string { return string(build(8, c, "")) }, unreadable},
		{"frame without its end", func(c uint16) string { return strings.Replace(delivery(c, false), "\xce", "\xcf", 1) }, unreadable},
		{"longest frame", func(c uint16) string { return "\x03\x00" + string(rune(c)) + "\xff\xff\xff\xff" }, unreadable},
		{"longest frame on the connection", func(uint16) string { return "\x01\x00\x00\xff\xff\xff\xff" }, unreadable},
		{"unknown class", func(c uint16) string { return string(method(c, 99, 1, "")) }, "unknown class 99"},
		{"unknown method", func(c uint16) string { return string(method(c, 60, 99, "")) }, "unknown method 99"},
		{"answers that nobody waits for", func(c uint16) string {
			return string(slices.Concat(method(c, 60, 11, ""), method(c, 60, 80, "\x00\x00\x00\x00\x00\x00\x00\x09\x01"), method(c, 20, 41, "")))
		}, silent},
		{"blocked and unblocked, again and again", func(uint16) string {
			return strings.Repeat(string(method(0, 10, 60, "\x01x"))+string(method(0, 10, 61, "")), 1000)
		}, silent},
		{"channel closed in a message", func(c uint16) string {
			return delivery(c, true) + string(method(c, 20, 40, "\x01\x94\x04gone\x00\x00\x00\x00"))
		}, "gone (404)"},
		{"consumer cancelled in a message", func(c uint16) string {
			return delivery(c, true) + string(method(c, 60, 30, "\x09rabbitrpc\x01"))
		}, "cancelled by the broker"},
		{"connection closed, with a long reason", func(uint16) string {
			return string(method(0, 10, 50, "\x01\x40\xff"+strings.Repeat("x", 255)+"\x00\x00\x00\x00"))
		}, strings.Repeat("x", 255) + " (320)"},
	} {
		for path, opts := range both {
			t.Run(tt.name+"/"+path, func(t *testing.T) {
				t.Setenv("RABBITRPC_DATAPLANE", "")
				synctest.Test(t, func(t *testing.T) {
					s := (&rogue{says: tt.says}).dial(t, opts...)
					_, err := s.Consume(t.Context(), conn.Consume{Queue: "q", Prefetch: 10}, func(d *conn.Delivery) { d.Ack() })
					if err != nil && s.Err() == nil {
						t.Errorf("consume: %v", err)
					}
					start := time.Now()
					<-s.Done()
					if took := time.Since(start); took > 15*time.Second {
						t.Errorf("the session ended after %v", took)
					}
					err = s.Err()
					if errors.Is(err, conn.ErrClosed) || len(opts) == 0 && !strings.Contains(err.Error(), tt.want) {
						t.Errorf("got %q, want %q", err, tt.want)
					}
				})
			})
		}
	}
}

// A broker that says why it ends a connection need not wait for an answer. What the answer meets then is not why.
func TestFarewell(t *testing.T) {
	t.Setenv("RABBITRPC_DATAPLANE", "")
	goodbye := string(method(0, 10, 50, "\x01\x40\x08shutdown\x00\x00\x00\x00"))
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			s := (&rogue{says: func(uint16) string { return goodbye }, leaves: true}).dial(t)
			_, _ = s.Consume(t.Context(), conn.Consume{Queue: "q", Prefetch: 10}, func(*conn.Delivery) {})
			<-s.Done()
			var said *conn.Error
			if err := s.Err(); !errors.As(err, &said) || said.Code != 320 || said.Reason != "shutdown" {
				t.Errorf("got %v, want shutdown (320)", err)
			}
		})
	}
}

// A broker that allows fewer channels than are needed is told of as such, and what was opened in vain is closed again.
func TestTooFewChannels(t *testing.T) {
	for path, opts := range both {
		t.Run(path, func(t *testing.T) {
			t.Setenv("RABBITRPC_DATAPLANE", "")
			synctest.Test(t, func(t *testing.T) {
				r := &rogue{channels: 1, says: func(uint16) string { return "" }}
				s := r.dial(t, opts...)
				_, err := s.OpenPublisher(t.Context(), nil)
				if err == nil || err.Error() != "open publisher: all channels that the broker allows are in use" || s.Err() != nil {
					t.Errorf("got %v, the session %v", err, s.Err())
				}
				synctest.Wait()
				if n := r.open.Load(); n != 0 {
					t.Errorf("%d channels are open", n)
				}
			})
		})
	}
}

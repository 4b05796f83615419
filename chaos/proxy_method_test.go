package chaos_test

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

var (
	publish = content(40, 1, "hel", "lo")
	returns = content(50, 1, "hello")
	deliver = content(60, 1, "hello")
	empty   = content(40, 1)

	// Another channel's message in between.
	mixed = flat(publish[:2], content(40, 2, "other")[:1], publish[2:3], content(40, 2, "other")[1:], publish[3:])
)

func flat(frames ...[][]byte) []byte { return slices.Concat(slices.Concat(frames...)...) }

func join(parts ...any) (all []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			all = append(all, p...)
		case [][]byte:
			all = append(all, flat(p)...)
		}
	}
	return all
}

// Each fault does to its method what it says, in each direction, and nothing to the frames around it, whatever pieces they
// come in.
func TestMethodFaults(t *testing.T) {
	acks := join(ack(1, 1), ack(1, 2), ack(1, 3))
	for _, tt := range []struct {
		name       string
		fault      chaos.Fault
		sent, want []byte
		bites      int
	}{
		{"drop each", chaos.Drop{Method: "basic.ack"}, join(acks, publish), join(publish), 3},
		{"drop the second", chaos.Drop{Method: "basic.ack", Nth: 2}, acks, join(ack(1, 1), ack(1, 3)), 1},
		{"drop none", chaos.Drop{Method: "basic.nack"}, acks, acks, 0},
		{"drop nack", chaos.Drop{Method: "basic.nack"}, join(method(60, 120, 1, ""), ack(1, 2)), ack(1, 2), 1},
		{"drop cancel", chaos.Drop{Method: "basic.cancel"}, join(method(60, 30, 1, ""), ack(1, 2)), ack(1, 2), 1},
		{"drop blocked", chaos.Drop{Method: "connection.blocked"}, join(method(10, 60, 0, "\x01x"), beat), beat, 1},
		{"drop heartbeat", chaos.Drop{Method: "heartbeat"}, join(beat, ack(1, 1), beat), ack(1, 1), 2},
		{"drop publish", chaos.Drop{Method: "basic.publish"}, join(publish, ack(1, 1), empty, ack(1, 2)), join(ack(1, 1), ack(1, 2)), 2},
		{"drop deliver", chaos.Drop{Method: "basic.deliver"}, join(deliver, publish), join(publish), 1},
		{"drop return", chaos.Drop{Method: "basic.return"}, join(returns, ack(1, 1)), ack(1, 1), 1},
		{"drop of one channel", chaos.Drop{Method: "basic.publish", Nth: 1}, mixed, flat(content(40, 2, "other")), 1},
		{"drop of the other", chaos.Drop{Method: "basic.publish", Nth: 2}, mixed, flat(publish), 1},
		{"drop what stops half-way", chaos.Drop{Method: "basic.publish"}, join(publish[:2], ack(1, 1), deliver), join(ack(1, 1), deliver), 1},
		{"duplicate ack", chaos.Duplicate{Method: "basic.ack", Nth: 2}, acks, join(ack(1, 1), ack(1, 2), ack(1, 2), ack(1, 3)), 1},
		{"duplicate publish", chaos.Duplicate{Method: "basic.publish"}, join(publish, empty), join(publish, publish, empty, empty), 2},
		{"duplicate deliver", chaos.Duplicate{Method: "basic.deliver"}, join(deliver, beat), join(deliver, deliver, beat), 1},
		{"duplicate of one channel", chaos.Duplicate{Method: "basic.publish", Nth: 1}, mixed, join(mixed, publish), 1},
		{"delay", chaos.Delay{Method: "basic.ack", For: time.Millisecond}, acks, acks, 3},
		{"delay publish", chaos.Delay{Method: "basic.publish", For: time.Millisecond}, join(publish, empty), join(publish, empty), 2},
		{"other connections", chaos.Drop{Method: "basic.ack", Conn: "yours"}, acks, acks, 0},
		{"this connection", chaos.Drop{Method: "basic.ack", Conn: "is mine"}, acks, nil, 3},
	} {
		for _, dir := range []chaos.Direction{chaos.ToBroker, chaos.ToClient} {
			t.Run(fmt.Sprint(tt.name, " ", dir), func(t *testing.T) {
				r := newRig(t)
				whole, bytewise := r.connect("this is mine"), r.connect("this is mine")
				for _, l := range []*line{whole, bytewise} {
					in := r.Inject(tt.fault)
					if l == whole {
						l.send(dir, tt.sent)
					} else {
						for i := range tt.sent {
							l.send(dir, tt.sent[i:i+1])
						}
					}
					want := join(tt.want, commit)
					if _, ok := tt.fault.(chaos.Delay); ok { // or what is sent next would overtake
						l.expect(dir, tt.want)
						want = commit
					}
					l.send(dir, commit)
					l.expect(dir, want)
					bites(t, in, tt.bites)
					in.Heal()
				}
			})
		}
	}
}

// A fault of one direction leaves the other alone.
func TestMethodFaultDirection(t *testing.T) {
	r := newRig(t)
	l := r.connect("")
	in := r.Inject(chaos.Drop{Method: "basic.ack", Dir: chaos.ToClient})
	l.pass(chaos.ToBroker, ack(1, 1))
	l.send(chaos.ToClient, join(ack(1, 1), commit))
	l.expect(chaos.ToClient, commit)
	bites(t, in, 1)
	in.Heal()
	l.pass(chaos.ToClient, ack(1, 1))
}

// A delay holds its channel, and all that follows on it, but no other.
func TestDelayHoldsItsChannel(t *testing.T) {
	for _, dir := range []chaos.Direction{chaos.ToBroker, chaos.ToClient} {
		t.Run(dir.String(), func(t *testing.T) {
			r := newRig(t)
			l := r.connect("")
			in := r.Inject(chaos.Delay{Method: "basic.publish", For: time.Hour, Nth: 1})
			l.send(dir, join(publish, ack(1, 1), publish, ack(2, 1), beat, commit))
			l.expect(dir, join(ack(2, 1), beat, commit))
			bites(t, in, 1)
			in.Heal()
			l.expect(dir, join(publish, ack(1, 1), publish))
			l.pass(dir, flat(publish))

			// What was held does not get into the middle of another frame.
			in = r.Inject(chaos.Delay{Method: "basic.publish", For: time.Hour})
			half := frame(3, 2, "half and half")
			l.send(dir, join(publish, half[:12]))
			l.expect(dir, half[:12])
			in.Heal()
			l.send(dir, half[12:])
			l.expect(dir, join(half[12:], publish))

			const wait = 50 * time.Millisecond
			in = r.Inject(chaos.Delay{Method: "basic.publish", For: wait})
			start := time.Now()
			l.send(dir, join(publish, ack(2, 1)))
			from, _ := l.ends(dir)
			from.CloseWrite()
			l.last(dir, join(ack(2, 1), publish), io.EOF)
			if d := time.Since(start); d < wait {
				t.Errorf("took %v, want at least %v", d, wait)
			}
			bites(t, in, 1)
		})
	}
}

// What is held is bounded: beyond that the sender waits. Nothing is lost, not at the end of the stream either.
func TestHeldIsBounded(t *testing.T) {
	for _, f := range []chaos.Fault{chaos.Delay{Method: "basic.publish", For: time.Hour, Nth: 1}, chaos.Latency{Delay: time.Hour}} {
		t.Run(f.String(), func(t *testing.T) {
			r := newRig(t)
			l := r.connect("")
			in := r.Inject(f)
			begin := join(publish[:2], []byte{3, 0, 1, 64, 0, 0, 0}) // and of a frame of a gigabyte
			l.send(chaos.ToBroker, begin)
			sent := len(begin) + fill(t, l.client)
			in.Heal()
			l.client.CloseWrite()
			if n, err := io.Copy(io.Discard, l.broker); int(n) != sent || err != nil {
				t.Errorf("got %d bytes, %v, want %d", n, err, sent)
			}
		})
	}
}

// A cut is possible at every byte of a message, and before and after it.
func TestCutInMethod(t *testing.T) {
	all := flat(publish)
	cuts := []int{chaos.Whole}
	for n := range len(all) + 1 {
		cuts = append(cuts, n)
	}
	for _, dir := range []chaos.Direction{chaos.ToBroker, chaos.ToClient} {
		r := newRig(t)
		for _, n := range cuts {
			l := r.connect("")
			in := r.Inject(chaos.Cut{Method: "basic.publish", Nth: 2, Bytes: n, Dir: dir})
			l.pass(dir, join(publish, ack(1, 1)))
			l.send(dir, join(publish, commit))
			want := all
			if n != chaos.Whole {
				want = all[:n]
			}
			l.last(dir, want, reset)
			if dir == chaos.ToBroker {
				l.last(chaos.ToClient, nil, reset)
			} else {
				l.last(chaos.ToBroker, nil, reset)
			}
			bites(t, in, 1)
			in.Heal()
		}
		l := r.connect("")
		in := r.Inject(chaos.Cut{Method: "basic.publish", Bytes: len(all) + 1, Dir: dir})
		l.pass(dir, join(publish, publish, commit))
		bites(t, in, 0)
	}
}

// A message that is too large to be copied passes once.
func TestHugeDuplicate(t *testing.T) {
	r := newRig(t)
	l := r.connect("")
	in := r.Inject(chaos.Duplicate{Method: "basic.publish"})
	huge := flat(content(40, 1, string(make([]byte, 10<<20)), string(make([]byte, 10<<20))))
	go l.client.Write(join(huge, publish, commit))
	l.expect(chaos.ToBroker, join(huge, publish, publish, commit))
	bites(t, in, 1)
}

// Faults of methods that were injected later act first, one for each method.
func TestNewestFaultWins(t *testing.T) {
	r := newRig(t)
	l := r.connect("")
	drop := r.Inject(chaos.Drop{Method: "basic.ack"})
	double := r.Inject(chaos.Duplicate{Method: "basic.ack", Nth: 2})
	l.send(chaos.ToBroker, join(ack(1, 1), ack(1, 2), ack(1, 3), commit))
	l.expect(chaos.ToBroker, join(ack(1, 2), ack(1, 2), commit))
	bites(t, drop, 2)
	bites(t, double, 1)
}

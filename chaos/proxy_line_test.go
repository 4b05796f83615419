package chaos_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

var oneWay = []chaos.Direction{chaos.ToBroker, chaos.ToClient}

func against(dir chaos.Direction) chaos.Direction {
	if dir == chaos.ToBroker {
		return chaos.ToClient
	}
	return chaos.ToBroker
}

// inEach runs a test for each direction, on AMQP and on what is not.
func inEach(t *testing.T, test func(t *testing.T, r *rig, l *line, dir chaos.Direction)) {
	for _, dir := range oneWay {
		t.Run("AMQP "+dir.String(), func(t *testing.T) {
			r := newRig(t)
			test(t, r, r.connect("mine"), dir)
		})
		t.Run("raw "+dir.String(), func(t *testing.T) {
			r := newRig(t)
			test(t, r, r.connectRaw(), dir)
		})
	}
}

// Without faults all bytes arrive, in both directions at a time, whatever they are.
func TestForward(t *testing.T) {
	inEach(t, func(t *testing.T, r *rig, l *line, dir chaos.Direction) {
		drop := r.Inject(chaos.Drop{Method: "basic.ack"})
		noise := make([]byte, 3<<20)
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		noise[0] = 'x' // no frame
		var wg sync.WaitGroup
		for _, d := range oneWay {
			from, to := l.ends(d)
			wg.Go(func() { from.Write(noise); from.CloseWrite() })
			wg.Go(func() {
				if got, err := io.ReadAll(to); !bytes.Equal(got, noise) || err != nil {
					t.Errorf("%v: got %d bytes, %v, want %d", d, len(got), err, len(noise))
				}
			})
		}
		wg.Wait()
		bites(t, drop, 0)
	})
}

// Whoever speaks first, and in whatever protocol, faults of methods leave it alone.
func TestMethodFaultsNeedAMQP(t *testing.T) {
	r := newRig(t)
	in := r.Inject(chaos.Drop{Method: "basic.ack"})
	l := r.connectRaw()
	l.pass(chaos.ToClient, ack(1, 1)) // before the client has said anything
	l.pass(chaos.ToBroker, []byte("\x16\x03\x01"))
	for _, dir := range oneWay {
		l.pass(dir, join(ack(1, 1), commit))
	}
	bites(t, in, 0)
}

// Latency is at least what it says, and keeps the order.
func TestLatency(t *testing.T) {
	inEach(t, func(t *testing.T, r *rig, l *line, dir chaos.Direction) {
		const delay, jitter = 30 * time.Millisecond, 20 * time.Millisecond
		in := r.Inject(chaos.Latency{Delay: delay, Jitter: jitter, Dir: dir})
		start := time.Now()
		var sent []byte
		for i := range byte(20) {
			b := ack(1, i)
			l.send(dir, b)
			sent = append(sent, b...)
			l.pass(against(dir), ack(1, i)) // spared
		}
		l.expect(dir, sent)
		if d := time.Since(start); d < delay-jitter {
			t.Errorf("took %v, want at least %v", d, delay-jitter)
		}
		if in.Bites() == 0 {
			t.Error("it did not bite")
		}
		in.Heal()
		hour := r.Inject(chaos.Latency{Delay: time.Hour, Dir: dir})
		l.send(dir, sent)
		from, _ := l.ends(dir)
		from.CloseWrite()
		until(t, "bite", func() bool { return hour.Bites() > 0 })
		hour.Heal() // lets go of what is on its way, the end as well
		l.last(dir, sent, io.EOF)
	})
}

// Jitter makes some of what is late less late.
func TestJitter(t *testing.T) {
	const delay = 200 * time.Millisecond
	r := newRig(t)
	l := r.connect("")
	r.Inject(chaos.Latency{Delay: delay, Jitter: delay})
	until(t, "a message in less than the delay", func() bool {
		start := time.Now()
		l.pass(chaos.ToBroker, commit)
		return time.Since(start) < delay
	})
}

func TestBandwidth(t *testing.T) {
	inEach(t, func(t *testing.T, r *rig, l *line, dir chaos.Direction) {
		const rate, size = 10_000, 1000
		in := r.Inject(chaos.Bandwidth{BytesPerSecond: rate, Dir: dir})
		start := time.Now()
		b := bytes.Repeat([]byte{'x'}, size)
		l.pass(dir, b)
		if d, want := time.Since(start), (size-rate/20)*time.Second/rate; d < want { // the last piece need not be waited for
			t.Errorf("took %v, want at least %v", d, want)
		}
		if in.Bites() < size*20/rate {
			t.Errorf("%v, want %d at least", in, size*20/rate)
		}
		l.pass(against(dir), b)
		slow := r.Inject(chaos.Bandwidth{BytesPerSecond: 1, Dir: dir})
		l.send(dir, b)
		l.expect(dir, b[:1])
		slow.Heal()
		in.Heal()
		l.expect(dir, b[1:])
	})
}

// fill writes until nobody takes any more.
func fill(t *testing.T, to *net.TCPConn) (n int) {
	t.Helper()
	b := make([]byte, 1<<20)
	for {
		to.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		k, err := to.Write(b)
		if n += k; errors.Is(err, os.ErrDeadlineExceeded) {
			to.SetWriteDeadline(time.Now().Add(soon))
			return n
		}
		if err != nil || n > 100<<20 {
			t.Fatalf("%d bytes were taken, %v", n, err)
		}
	}
}

// A stall blocks the sender, and loses nothing. The other direction is open.
func TestStall(t *testing.T) {
	inEach(t, func(t *testing.T, r *rig, l *line, dir chaos.Direction) {
		in := r.Inject(chaos.Stall{Dir: dir})
		from, to := l.ends(dir)
		got := make(chan int)
		go func() {
			n, err := io.Copy(io.Discard, to)
			if err != nil {
				t.Errorf("receive: %v", err)
			}
			got <- int(n)
		}()
		sent := fill(t, from)
		bites(t, in, 1)
		select {
		case <-got:
			t.Error("it came to an end")
		default:
		}
		l.pass(against(dir), commit)
		from.CloseWrite()
		in.Heal()
		if n := <-got; n != sent {
			t.Errorf("%d bytes arrived, want %d", n, sent)
		}
	})
}

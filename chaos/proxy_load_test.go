package chaos_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

// Streams that are AMQP up to somewhere, under faults that wait for what is in them: each comes to an end.
func TestGarbage(t *testing.T) {
	r := newRig(t)
	for _, f := range []chaos.Fault{
		chaos.Drop{Method: "basic.publish"}, chaos.Duplicate{Method: "basic.publish", Nth: 2}, chaos.Duplicate{Method: "basic.ack"},
		chaos.Delay{Method: "basic.deliver", For: time.Millisecond}, chaos.Delay{Method: "basic.ack", For: time.Millisecond},
		chaos.Cut{Method: "basic.publish", Nth: 150, Bytes: 100}, chaos.Drop{Method: "connection.start-ok"},
	} {
		r.Inject(f)
	}
	for range 200 {
		stream := slices.Repeat(join(mixed, ack(1, 1), beat, deliver, startOK("x"), ack(2, 1), empty), 3)
		for range 1 + rand.IntN(5) {
			stream[rand.IntN(len(stream))] = byte(rand.Uint32())
		}
		stream = stream[:rand.IntN(len(stream))]
		for _, dir := range oneWay {
			l := r.connectRaw()
			l.pass(chaos.ToBroker, []byte(greeting))
			from, to := l.ends(dir)
			from.Write(stream)
			from.CloseWrite()
			if _, err := io.Copy(io.Discard, to); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%v: no end after %q", dir, stream)
			}
		}
	}
}

// Faults come and go under load, from several sides: nothing hangs, nothing is left running.
func TestFaultsUnderLoad(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() { // echoes
		for {
			c, err := r.broker.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { io.Copy(c, c); c.Close() })
		}
	})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				c, err := r.dial()
				if err != nil {
					continue
				}
				wg.Go(func() { io.Copy(io.Discard, c) })
				c.SetDeadline(time.Now().Add(50 * time.Millisecond))
				c.Write(join([]byte(greeting), startOK("x"), slices.Repeat(join(mixed, ack(1, 1), beat, deliver), 100)))
				c.Close()
			}
		})
	}
	all := []chaos.Fault{
		chaos.Latency{Delay: 2 * time.Millisecond, Jitter: time.Millisecond}, chaos.Bandwidth{BytesPerSecond: 100_000}, chaos.Stall{},
		chaos.HalfOpen{}, chaos.Reset{}, chaos.HangUp{}, chaos.Refuse{}, chaos.Impostor{Says: chaos.HTTP},
		chaos.Drop{Method: "basic.publish"}, chaos.Delay{Method: "basic.publish", For: time.Millisecond},
		chaos.Duplicate{Method: "basic.ack"}, chaos.Cut{Bytes: 1000}, chaos.Cut{Method: "basic.ack", Nth: 3, Bytes: 3},
		chaos.Reset{Dir: chaos.ToClient}, chaos.HangUp{Dir: chaos.ToBroker},
	}
	for range 2 {
		wg.Go(func() {
			for range 150 {
				in := r.Inject(all[rand.IntN(len(all))])
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
				in.Heal()
			}
		})
	}
	stop := time.AfterFunc(500*time.Millisecond, func() { close(done) })
	defer stop.Stop()
	<-done
	r.broker.Close()
	r.Close()
	wg.Wait()
	if in := r.Inject(chaos.Refuse{}); in.Bites() != 0 {
		t.Error("a closed proxy takes faults")
	} else {
		in.Heal()
	}
	if _, err := r.dial(); err == nil {
		t.Error("a closed proxy takes connections")
	}
}

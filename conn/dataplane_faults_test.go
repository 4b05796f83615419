package conn_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

// both are the ways in which messages are written and read.
var both = map[string][]conn.Option{"data plane": nil, "library": {conn.WithoutDataPlane()}}

func TestSwitch(t *testing.T) {
	for value, valid := range map[string]bool{"": true, "on": true, "off": true, "0": false} {
		t.Setenv("RABBITRPC_DATAPLANE", value)
		m, err := conn.Open(t.Context(), "amqp://localhost:1", quiet, conn.WithBackgroundDial())
		if err == nil {
			m.Close(t.Context())
		}
		if (err == nil) != valid || err != nil && !strings.Contains(err.Error(), "must be on or off") {
			t.Errorf("%q: got %v", value, err)
		}
	}
}

// What a client has while nothing happens.
func TestIdleGoroutines(t *testing.T) {
	t.Setenv("RABBITRPC_DATAPLANE", "")
	testbroker.URL(t)
	before := runtime.NumGoroutine()
	s := session(t, open(t, testbroker.URL(t)))
	q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
	must(t, err)
	publisher(t, s)
	_, err = s.Consume(t.Context(), conn.Consume{Queue: q.Name, NoAck: true, Prompt: true}, func(*conn.Delivery) {})
	must(t, err)
	settled := after(func() {
		for runtime.NumGoroutine()-before > 8 { // with this one
			time.Sleep(time.Millisecond)
		}
	})
	within(t, "fewer than 8 goroutines", 5*time.Second, settled)
}

// While there are messages the broker sends no heartbeats, and the library sees nothing: both show that they are alive.
func TestBusyIsAlive(t *testing.T) {
	t.Setenv("RABBITRPC_DATAPLANE", "")
	s := session(t, open(t, testbroker.URL(t), conn.WithHeartbeat(heartbeat)))
	q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
	must(t, err)
	_, err = s.Consume(t.Context(), conn.Consume{Queue: q.Name, Prefetch: 100, Prompt: true}, func(d *conn.Delivery) { d.Ack() })
	must(t, err)
	p := publisher(t, s)
	for begin := time.Now(); time.Since(begin) < 5*heartbeat/2; time.Sleep(time.Millisecond) {
		if err := p.Publish(&conn.Message{Key: q.Name}, func(bool) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Err(); err != nil {
		t.Errorf("the session has ended: %v", err)
	}
}

// A consumer gets no more of a body than it has asked for, and enough to see that there was more.
func TestMaxBody(t *testing.T) {
	t.Setenv("RABBITRPC_DATAPLANE", "")
	for path, opts := range both {
		s := session(t, open(t, testbroker.URL(t), opts...))
		q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
		must(t, err)
		got := make(chan string, 4)
		_, err = s.Consume(t.Context(), conn.Consume{Queue: q.Name, Prefetch: 4, MaxBody: 2000}, func(d *conn.Delivery) {
			got <- string(d.Body)
			d.Ack()
		})
		must(t, err)
		p := publisher(t, s)
		body := strings.Repeat("0123456789", 30_000)
		for _, n := range []int{0, 2000, 2001, len(body)} {
			must(t, p.Publish(&conn.Message{Key: q.Name, Body: []byte(body[:n])}, nil))
			if b := <-got; !strings.HasPrefix(body[:n], b) || n <= 2000 && len(b) != n || n > 2000 && len(b) < 2001 {
				t.Errorf("%s: %d bytes of %d", path, len(b), n)
			} else if path == "data plane" && len(b) > 2001 {
				t.Errorf("%s: all of %d bytes", path, n)
			}
		}
	}
}

// A connection that is lost in the middle of a frame costs its session, whichever frame that is: what the broker has
// confirmed is delivered in this session or in the next.
func TestLostInTheMiddle(t *testing.T) {
	t.Setenv("RABBITRPC_DATAPLANE", "")
	for name, fault := range map[string]chaos.Fault{
		"publish":  chaos.Cut{Method: "basic.publish", Nth: 30, Bytes: 40},
		"confirm":  chaos.Cut{Method: "basic.ack", Dir: chaos.ToClient, Nth: 3, Bytes: 9},
		"delivery": chaos.Cut{Method: "basic.deliver", Nth: 30, Bytes: 70},
		"ack":      chaos.Cut{Method: "basic.ack", Dir: chaos.ToBroker, Nth: 3, Bytes: 9},
		"return":   chaos.Cut{Method: "basic.return", Bytes: 20},
	} {
		for path, opts := range both {
			t.Run(name+"/"+path, func(t *testing.T) { loseInTheMiddle(t, fault, opts) })
		}
	}
}

func loseInTheMiddle(t *testing.T, fault chaos.Fault, opts []conn.Option) {
	p := proxy(t, testbroker.URL(t))
	m := open(t, p.URL(), opts...)
	s := session(t, m)
	q, err := s.DeclareQueue(t.Context(), conn.Queue{Name: "middle-" + t.Name(), Durable: true})
	must(t, err)
	seen := newSeen()
	consume := func(s conn.Session) {
		_, err := s.Consume(t.Context(), conn.Consume{Queue: q.Name, Prefetch: 10}, func(d *conn.Delivery) {
			seen.add(string(d.Body))
			d.Ack()
		})
		must(t, err)
	}
	consume(s)
	bite := p.Inject(fault)
	confirmed := newSeen()
	pub := publisher(t, s)
	for i := 0; s.Err() == nil; i++ {
		body := fmt.Sprint(i)
		pub.Publish(&conn.Message{Key: "nobody", Mandatory: true}, nil)
		pub.Publish(&conn.Message{Key: q.Name, Persistent: true, Body: []byte(body)}, func(ok bool) {
			if ok {
				confirmed.add(body)
			}
		})
		time.Sleep(100 * time.Microsecond)
	}
	within(t, "fault", time.Second, after(func() {
		for bite.Bites() == 0 { // it is counted when it is done
			time.Sleep(time.Millisecond)
		}
	}))
	bite.Heal()
	next := session(t, m)
	consume(next)
	for body := range confirmed.bodies() {
		within(t, "message "+body, 5*time.Second, seen.of(body))
	}
	must(t, session(t, open(t, testbroker.URL(t))).DeleteQueue(t.Context(), q.Name)) // which ends the session that consumes it
}

// A seen knows which messages there were.
type seen struct {
	mu  sync.Mutex // guards all
	all map[string]chan struct{}
}

func newSeen() *seen { return &seen{all: make(map[string]chan struct{})} }

// of returns a channel that is closed when there is the message.
func (s *seen) of(body string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[body] == nil {
		s.all[body] = make(chan struct{})
	}
	return s.all[body]
}

func (s *seen) add(body string) {
	c := s.of(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

func (s *seen) bodies() map[string]chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]chan struct{})
	for body, c := range s.all {
		all[body] = c
	}
	return all
}

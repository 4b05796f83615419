package server_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const directPrefix = "amq.rabbitmq.reply-to."

// Direct reply-to addresses are answered in sessions of their own. One that was made up costs no reply but its own.
func TestDirectReplyTo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var dialed []conn.Session
		var answered []string
		c := &hooked{
			Connector: r.conn,
			dial:      func(s conn.Session) { dialed = append(dialed, s) },
			publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				switch {
				case m.Key == directPrefix+"made-up": // RabbitMQ up to 4.2 ends the connection, with an internal error
					dialed[len(dialed)-1].Close(t.Context())
					return nil
				case strings.HasPrefix(m.Key, directPrefix):
					answered = append(answered, strings.TrimPrefix(m.Key, directPrefix))
				}
				return p.Publish(m, confirmed)
			},
		}
		p := r.start(c, twice, server.WithQueue("rpc_queue", "double"), server.WithoutDiscovery())
		main, err := r.conn.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ask := func(address string) {
			t.Helper()
			r.send(r.plain("21", func(m *conn.Message) { m.ReplyTo = directPrefix + address }))
			synctest.Wait()
		}
		ask("a")
		if len(dialed) != 1 {
			t.Fatalf("%d sessions, want one for trials", len(dialed))
		}
		ask("a")
		if len(dialed) != 2 {
			t.Fatalf("%d sessions, want one more, for those that have passed", len(dialed))
		}
		trusted := dialed[1]
		ask("b")
		ask("a")
		if len(dialed) != 2 {
			t.Fatalf("%d sessions, want no more", len(dialed))
		}
		dialed[0].Close(t.Context())
		for range 3 { // each costs the session in which it is tried
			ask("made-up")
			ask("a")
		}
		ask("c")
		if got := strings.Join(answered, " "); got != "a a b a a a a c" {
			t.Errorf("got %q, want an answer for all but the made-up", got)
		}
		if len(dialed) != 2+4 {
			t.Errorf("%d sessions, want 4 more", len(dialed))
		}
		r.mustAnswer()
		if main.Err() != nil || trusted.Err() != nil {
			t.Errorf("the server's session: %v, that of those that have passed: %v", main.Err(), trusted.Err())
		}
		p.stop()
		synctest.Wait()
		for i, s := range dialed {
			if s.Err() == nil {
				t.Errorf("session %d is open after Run", i)
			}
		}
	})
}

// A trial is a server that answers direct reply-to, and whose trials of addresses last until the test says that they have passed.
type trial struct {
	*rig
	*process

	mu       sync.Mutex // guards what follows
	answered int
	tried    []func(bool)
	passed   bool // all do
}

// tryDirect runs f with a server of four workers.
func tryDirect(t *testing.T, f func(*trial), opts ...server.Option) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		tr := &trial{rig: r}
		c := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
			if !strings.HasPrefix(m.Key, directPrefix) {
				return p.Publish(m, confirmed)
			}
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.answered++
			if m.Mandatory {
				t.Error("mandatory: RabbitMQ up to 4.1 returns all of them")
			}
			switch {
			case confirmed == nil:
			case tr.passed:
				go confirmed(true)
			default:
				tr.tried = append(tr.tried, confirmed)
			}
			return nil
		}}
		opts = append(opts, server.WithQueue("rpc_queue", "double"), server.WithWorkers(4), server.WithoutDiscovery())
		tr.process = r.start(c, twice, opts...)
		f(tr)
	})
}

// pass has the address pass that is being tried, and all that are next.
func (tr *trial) pass() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.passed = true
	for _, confirmed := range tr.tried {
		go confirmed(true)
	}
	tr.tried = nil
}

// hold has the next address wait to be tried.
func (tr *trial) hold() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.passed = false
}

// asks sends n requests to be answered at an address.
func (tr *trial) asks(n int, address, body string) {
	tr.t.Helper()
	for range n {
		tr.send(tr.plain(body, func(m *conn.Message) { m.ReplyTo = directPrefix + address }))
	}
	synctest.Wait()
}

func (tr *trial) wantAnswered(n int) {
	tr.t.Helper()
	synctest.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.answered != n {
		tr.t.Errorf("%d replies, want %d", tr.answered, n)
	}
}

func (tr *trial) wantUnacked(n int) {
	tr.t.Helper()
	for _, q := range tr.broker.Queues() {
		if q.Name == "rpc_queue" && (q.Ready != 0 || q.Unacked != n) {
			tr.t.Errorf("%+v, want %d requests that are not acknowledged", q, n)
		}
	}
}

// A caller may send many requests before the trial of its address has ended. Each is answered, and none keeps a worker.
func TestManyToNewDirectReplyTo(t *testing.T) {
	tryDirect(t, func(tr *trial) {
		tr.asks(100, "a", "21")
		tr.wantAnswered(1)
		tr.wantUnacked(2) // half of what the broker hands over
		tr.mustAnswer()
		tr.pass()
		tr.wantAnswered(100)
		tr.wantUnacked(0)
		tr.asks(1, "a", "21")
		tr.wantAnswered(101)
		tr.hold()
		tr.asks(10, "b", "21")
		tr.wantAnswered(102)
		tr.wantUnacked(2)
		if n := tr.Stats().Unroutable; n != 0 {
			t.Errorf("%d replies were dropped", n)
		}
	})
}

// New addresses are tried one after the other. What comes while there are too many of them is dropped.
func TestManyNewDirectReplyTo(t *testing.T) {
	tryDirect(t, func(tr *trial) {
		for i := range 4096 {
			tr.send(tr.plain("21", func(m *conn.Message) { m.ReplyTo = directPrefix + fmt.Sprint(i) }))
		}
		synctest.Wait()
		if n := tr.Stats().Unroutable; n != 0 {
			t.Errorf("%d replies were dropped", n)
		}
		tr.asks(6, "new", "21")
		tr.wantAnswered(1)
		tr.mustAnswer()
		if n := tr.Stats().Unroutable; n != 6 {
			t.Errorf("%d replies were dropped, want 6", n)
		}
		tr.pass()
		tr.wantAnswered(4096)
		tr.asks(1, "new", "21")
		tr.wantAnswered(4097)
	})
}

// What waits for a trial takes no more than 64 MiB, with the requests.
func TestLargeToNewDirectReplyTo(t *testing.T) {
	tryDirect(t, func(tr *trial) {
		tr.asks(68, "a", strings.Repeat(" ", 1<<20)+"21")
		tr.pass()
		tr.wantAnswered(63)
		if n := tr.Stats().Unroutable; n != 5 {
			t.Errorf("%d replies were dropped, want 5", n)
		}
	})
}

// A server that drains waits for trials as it does for handlers.
func TestDrainWaitsForTrials(t *testing.T) {
	tryDirect(t, func(tr *trial) {
		tr.asks(10, "a", "21")
		tr.cancel()
		synctest.Wait()
		select {
		case <-tr.stopped:
			t.Error("it has stopped before the trial has")
		default:
		}
		tr.pass()
		if err := tr.stop(); err != nil {
			t.Error(err)
		}
		tr.wantAnswered(10)
	})
}

// A trial, too, waits for the end of an alarm, which the broker speaks of only after it was sent something.
func TestTrialInAlarm(t *testing.T) {
	tryDirect(t, func(tr *trial) {
		tr.asks(10, "a", "21")
		tr.broker.Block()
		time.Sleep(time.Minute)
		tr.broker.Unblock()
		tr.pass()
		tr.wantAnswered(10)
		if n := tr.Stats().Unroutable; n != 0 {
			t.Errorf("%d replies were dropped", n)
		}
		tr.hold()
		tr.asks(10, "b", "21")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := tr.Stats().Unroutable; n != 10 {
			t.Errorf("%d replies were dropped of a broker that gives no verdict, want 10", n)
		}
	})
}

// A verdict that comes too late must not pass for one on the next address.
func TestTrialAfterOneWithoutVerdict(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var dialed []conn.Session
		c := &hooked{
			Connector: r.conn,
			dial:      func(s conn.Session) { dialed = append(dialed, s) },
			publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				switch m.Key {
				case directPrefix + "made-up":
					return nil // not yet
				case directPrefix + "a":
					dialed[0].Close(t.Context()) // the verdict
					go confirmed(true)
					return dialed[len(dialed)-1].Err()
				}
				return p.Publish(m, confirmed)
			},
		}
		p := r.start(c, twice, server.WithQueue("rpc_queue", "double"), server.WithoutDiscovery())
		for _, address := range []string{"made-up", "a"} {
			r.send(r.plain("21", func(m *conn.Message) { m.ReplyTo = directPrefix + address }))
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := p.Stats().Unroutable; n != 1 || len(dialed) != 2 {
			t.Errorf("%d replies were dropped in %d sessions, want one in the first of 2", n, len(dialed))
		}
	})
}

func TestDrainLimitsTrials(t *testing.T) {
	tryDirect(t, func(tr *trial) {
		tr.asks(10, "a", "21")
		start := time.Now()
		if err := tr.stop(); err == nil || !strings.Contains(err.Error(), "2 requests were not answered") {
			t.Errorf("got %v", err)
		}
		took(t, start, 2*time.Second)
	}, server.WithDrain(time.Second))
}

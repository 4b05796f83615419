package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

func consumers(r *rig) (n int) {
	synctest.Wait()
	for _, q := range r.broker.Queues() {
		if q.Name == "rabbitrpc.math" {
			n += q.Consumers
		}
	}
	return n
}

// A paused server gives back what has not started, ends what runs, and takes nothing until it is resumed.
func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		p := r.start(r.conn, slow(time.Second, &runs), server.WithWorkers(1), server.WithQueue("rpc_queue", "double"))
		r.send(r.request("1"))
		synctest.Wait()
		r.send(r.plain("2")) // of another queue: it is handed over, and waits for the worker
		synctest.Wait()
		p.Pause()
		p.Pause()
		if n := consumers(r); n != 0 {
			t.Errorf("%d consumers, want none", n)
		}
		for _, q := range r.broker.Queues() {
			if q.Name == "rpc_queue" && q.Ready != 1 {
				t.Errorf("%+v, want what has not started given back", q)
			}
		}
		time.Sleep(5 * time.Second)
		if got := summary(r.replies()); got != "[2]" || runs.ran() != 1 {
			t.Errorf("got %s of %d runs, want what ran", got, runs.ran())
		}
		r.conn.Lose() // a pause outlives its session
		synctest.Wait()
		if n := consumers(r); n != 0 {
			t.Errorf("%d consumers in the next session, want none", n)
		}
		p.Resume()
		p.Resume()
		time.Sleep(time.Second)
		if got := summary(r.replies()); got != "[4]" || runs.ran() != 2 {
			t.Errorf("got %s of %d runs, want what had waited", got, runs.ran())
		}
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestStopWhilePaused(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.launch(r.conn, func(s *server.Server) { s.Pause(); server.Handle(s, double, twice) })
		synctest.Wait()
		select {
		case <-p.Ready():
			t.Error("ready, though paused before it ran")
		default:
		}
		start := time.Now()
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		took(t, start, 0)
	})
}

// A handler that does not look at its context keeps its worker, and no more: its caller is told, and others are served.
func TestOverdue(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		stuck := make(chan struct{})
		var runs counter
		p := r.start(r.conn, func(_ context.Context, n int) (int, error) {
			runs.add(1)
			if n == 1 {
				<-stuck
			}
			return 2 * n, nil
		}, server.WithWorkers(2))
		m := r.request("1")
		r.send(m)
		start := time.Now()
		for len(r.replies()) == 0 && time.Since(start) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		took(t, start, 11*time.Second) // the timeout, and a second
		if s := p.Stats(); s.Overdue != 1 || s.Stuck != 1 || s.Running != 1 || unacked(r) != 1 {
			t.Errorf("%d overdue, %d stuck, %d run, %d unacked, want one of each", s.Overdue, s.Stuck, s.Running, unacked(r))
		}
		if log := r.log.String(); !strings.Contains(log, "request is overdue, and keeps its worker") || !strings.Contains(log, m.CorrelationID) {
			t.Errorf("log:\n%s", log)
		}
		r.mustAnswer()
		close(stuck)
		synctest.Wait()
		if got := r.replies(); len(got) != 0 || unacked(r) != 0 {
			t.Errorf("got %v and %d unacked, want neither a second reply nor the request", got, unacked(r))
		}
		if s := p.Stats(); s.Stuck != 0 {
			t.Errorf("%d stuck, want none", s.Stuck)
		}
		if reply, err := r.ask(m); err != nil || string(reply.Body) != "2" || runs.ran() != 2 {
			t.Errorf("asked again: got %v, %v of %d runs, want what was recorded", reply, err, runs.ran())
		}
	})
}

// The request is not acknowledged before the broker has what its caller is told, though the handler may end first.
func TestOverdueAnswerIsConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
			if confirmed == nil {
				return p.Publish(m, nil)
			}
			return p.Publish(m, func(ok bool) { time.AfterFunc(5*time.Second, func() { confirmed(ok) }) })
		}}
		r.start(c, func(context.Context, int) (int, error) { time.Sleep(12 * time.Second); return 0, nil })
		r.send(r.request("1"))
		time.Sleep(13 * time.Second)
		if unacked(r) != 1 {
			t.Error("acknowledged before the answer was confirmed")
		}
		time.Sleep(10 * time.Second)
		if unacked(r) != 0 || len(r.replies()) != 1 {
			t.Error("want it answered once, and acknowledged")
		}
	})
}

func TestOverdueAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, func(context.Context, int) (int, error) { time.Sleep(12 * time.Second); return 0, nil })
		r.send(r.request("1"))
		time.Sleep(11 * time.Second)
		_, err := wire.DecodeReply(r.reply())
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedUnknown)
		time.Sleep(time.Second)
	})
}

// What the broker takes away is declared again, or ends the server, as it was told.
func TestTakenAway(t *testing.T) {
	deleteQueue := func(t *testing.T, r *rig) {
		s, err := r.broker.Connector("admin").Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteQueue(t.Context(), "rabbitrpc.math"); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("goes on", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			r.start(r.conn, twice)
			start := time.Now()
			deleteQueue(t, r)
			for consumers(r) == 0 && time.Since(start) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("back in service after %v, want a second at most", d)
			}
			r.mustAnswer()
		})
	})
	t.Run("ends", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			p := r.start(r.conn, twice, server.WithFailFast())
			r.conn.Lose() // is another thing
			synctest.Wait()
			r.mustAnswer()
			deleteQueue(t, r)
			if err := p.wait(); !errors.Is(err, conn.ErrCancelled) {
				t.Errorf("run: %v, want cancelled", err)
			}
		})
	})
}

// So does any other error of a channel.
func TestFailFast(t *testing.T) {
	for _, c := range []struct {
		name string
		m    conn.Message
		want error
	}{
		{"406", conn.Message{Key: "x", UserID: "somebody else"}, conn.ErrPrecondition},
		{"404", conn.Message{Exchange: "nowhere", Key: "x"}, conn.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, twice, server.WithFailFast())
				s, err := r.conn.Session(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				pub, err := s.OpenPublisher(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				pub.Publish(&c.m, nil)
				if err := p.wait(); !errors.Is(err, c.want) {
					t.Errorf("run: %v, want %v", err, c.want)
				}
			})
		})
	}
}

// Two services on one connection do not know of each other.
func TestTwoServices(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.start(r.conn, twice)
		other, err := server.New(r.conn, "other")
		if err != nil {
			t.Fatal(err)
		}
		thrice := rpc.Method[int, int]{Service: "other", Name: "thrice"}
		server.Handle(other, thrice, func(_ context.Context, n int) (int, error) { return 3 * n, nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- other.Run(ctx) }()
		<-other.Ready()
		toOther := func(m *conn.Message) { m.Exchange, m.Type = wire.Exchange("other"), "thrice" }
		if reply, err := r.ask(r.request("5", toOther)); err != nil || string(reply.Body) != "15" {
			t.Errorf("got %v, %v", reply, err)
		}
		if err := first.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		if reply, err := r.ask(r.request("6", toOther)); err != nil || string(reply.Body) != "18" {
			t.Errorf("got %v, %v", reply, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// Whoever calls hears every two seconds that its request runs, unless it is a call that waits on disk, or one of a plain queue.
func TestSaysThatRequestRuns(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*conn.Message)
		want int
	}{
		{"queued", func(*conn.Message) {}, 4},
		{"direct", func(m *conn.Message) { m.Expiration = "0" }, 4},
		{"durable", func(m *conn.Message) { m.Persistent = true }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.start(r.conn, func(context.Context, int) (int, error) { time.Sleep(9 * time.Second); return 0, nil })
				m := r.request("1", tt.edit)
				r.send(m)
				time.Sleep(9 * time.Second)
				r.reply()
				r.mu.Lock()
				defer r.mu.Unlock()
				if n := len(r.running); n != tt.want {
					t.Errorf("it was said %d times, want %d", n, tt.want)
				}
				for _, said := range r.running {
					if said.CorrelationID != m.CorrelationID || wire.AttemptOf(said) != 1 {
						t.Errorf("got %+v, want it of attempt 1 of %s", said, m.CorrelationID)
					}
				}
			})
		})
	}
}

// A plain queue's caller would take it for the answer. So it is not even said when the request before has ended at the moment at which it
// was to be said of that.
func TestSaysNothingToThePlain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, func(_ context.Context, n int) (int, error) {
			time.Sleep(time.Duration(n) * time.Millisecond)
			return 2 * n, nil
		}, server.WithWorkers(1), server.WithQueue("rpc_queue", "double"))
		for range 50 {
			r.send(r.request("2000"))
			synctest.Wait()
			plain := r.plain("1")
			r.send(plain)
			time.Sleep(3 * time.Second)
			r.replies()
			r.mu.Lock()
			for _, said := range r.running {
				if said.CorrelationID == plain.CorrelationID {
					t.Errorf("got %+v", said)
				}
			}
			r.mu.Unlock()
		}
	})
}

// A quorum queue counts what is given back as deliveries that failed. To be given back often is no reason to be parked.
func TestPauseOverAndOver(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		end := make(chan struct{})
		p := r.start(r.conn, func(_ context.Context, n int) (int, error) {
			runs.add(1)
			if n == 1 {
				<-end
			}
			return 2 * n, nil
		}, server.WithWorkers(1), server.WithQuorumQueue(20))
		r.send(r.request("1", forever(3600_000)))
		synctest.Wait()
		r.send(r.request("2", forever(3600_000)))
		for i := range 8 {
			synctest.Wait()
			p.Pause()
			time.Sleep(10 * time.Second)
			if q, _ := r.broker.Queue("rabbitrpc.math"); i == 1 && q.Ready != 1 {
				t.Errorf("%+v, want the request that waits to be given back", q)
			}
			p.Resume()
			time.Sleep(10 * time.Second)
		}
		close(end)
		time.Sleep(10 * time.Second) // who was delivered often waits a moment: he could be a killer
		if got := summary(r.replies()); got != "[2 4]" || runs.ran() != 2 {
			t.Errorf("got %s after %d runs, want both", got, runs.ran())
		}
	})
}

package server_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

func TestDrain(t *testing.T) {
	obey := func(ctx context.Context, n int) (int, error) {
		select {
		case <-time.After(10 * time.Second):
			return 2 * n, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	ignore := func(_ context.Context, n int) (int, error) {
		time.Sleep(10 * time.Second)
		return 2 * n, nil
	}
	brief := func(_ context.Context, n int) (int, error) {
		time.Sleep(time.Second)
		return 2 * n, nil
	}
	for _, c := range []struct {
		name    string
		handler func(context.Context, int) (int, error)
		limit   time.Duration
		took    time.Duration
		ok      bool
		reply   rpc.Code
	}{
		{"handler ends in time", brief, 2 * time.Second, time.Second, true, rpc.OK},
		{"handler outlasts the limit and obeys", obey, 2 * time.Second, 2 * time.Second, false, rpc.Unavailable},
		{"handler outlasts the limit and does not obey", ignore, 2 * time.Second, 3 * time.Second, false, rpc.OK},
		{"no limit at all", obey, 0, 0, false, rpc.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, c.handler, server.WithDrain(c.limit))
				r.send(r.request("21", func(m *conn.Message) { m.Headers["rpc-timeout-ms"] = int64(60_000) }))
				synctest.Wait()
				start := time.Now()
				err := p.stop()
				took(t, start, c.took)
				if (err == nil) != c.ok {
					t.Errorf("run: %v", err)
				}
				time.Sleep(10 * time.Second)
				_, err = wire.DecodeReply(r.reply())
				check(t, err, c.reply, rpc.ExecutedYes)
			})
		})
	}
}

// A server whose handlers outlast its drain gives back its channels when they have ended, in a session that lives on.
func TestDrainGivesBackChannels(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := &hooked{Connector: r.conn}
		var runs counter
		p := r.start(c, slow(10*time.Second, &runs), server.WithDrain(time.Second), server.WithoutDiscovery())
		r.send(r.request("1"))
		synctest.Wait()
		if err := p.stop(); err == nil {
			t.Error("run: no error, with a handler that runs")
		}
		time.Sleep(10 * time.Second)
		r.reply()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.publishers != 0 {
			t.Errorf("%d publishers are left", c.publishers)
		}
	})
}

func TestDrainIdle(t *testing.T) {
	for range 20 { // the limit of nothing is over at once, too
		inBubble(t, func(t *testing.T, r *rig) {
			p := r.start(r.conn, twice, server.WithDrain(0))
			r.mustAnswer()
			start := time.Now()
			if err := p.stop(); err != nil {
				t.Errorf("run: %v", err)
			}
			took(t, start, 0)
		})
	}
}

// A reply that waits for the broker is work that is not done.
func TestDrainBlocked(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		p := r.start(r.conn, slow(time.Second, &runs), server.WithDrain(2*time.Second))
		r.send(r.request("21"))
		synctest.Wait()
		r.broker.Block()
		start := time.Now()
		if err := p.stop(); err == nil {
			t.Error("run: no error, with a reply that is not sent")
		}
		took(t, start, 2*time.Second)
		r.broker.Unblock()
		r.conn.Lose() // the request goes to the next server
		r.start(r.broker.Connector("other"), twice)
		if got := summary(r.replies()); got != "[42]" {
			t.Errorf("got %s", got)
		}
	})
}

// What has not started is given back at once, for another server, while what runs goes on.
func TestDrainGivesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var first, second counter
		p := r.start(r.conn, slow(5*time.Second, &first), server.WithWorkers(1), server.WithQueue("rpc_queue", "double"))
		r.send(r.request("1"))
		synctest.Wait()
		r.send(r.plain("2"))
		synctest.Wait()
		r.start(r.broker.Connector("second"), slow(0, &second), server.WithQueue("rpc_queue", "double"))
		if got := summary(r.replies()); got != "[]" {
			t.Fatalf("got %s before the drain", got)
		}
		start := time.Now()
		p.cancel()
		if got := summary(r.replies()); got != "[4]" {
			t.Errorf("got %s, want what had not started", got)
		}
		r.mustAnswer()
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		took(t, start, 5*time.Second)
		if got := summary(r.replies()); got != "[2]" || first.ran() != 1 || second.ran() != 2 {
			t.Errorf("got %s, runs %d and %d, want 1 and 2", got, first.ran(), second.ran())
		}
	})
}

// Deliveries of sessions that are over must not stand in the way of a drain.
func TestDrainAfterLostSessions(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		p := r.start(r.conn, slow(20*time.Second, &runs), server.WithWorkers(1), server.WithDrain(2*time.Second))
		r.send(r.request("1", func(m *conn.Message) { m.Expiration, m.Headers["rpc-timeout-ms"] = "60000", int64(60_000) }))
		for range 10 {
			synctest.Wait()
			r.conn.Lose()
		}
		synctest.Wait()
		start := time.Now()
		if err := p.stop(); err == nil {
			t.Error("run: no error, with a handler that still runs")
		}
		took(t, start, 3*time.Second)
		if log := r.log.String(); strings.Contains(log, "consumer did not end") {
			t.Errorf("log:\n%s", log)
		}
		time.Sleep(20 * time.Second)
		r.start(r.broker.Connector("other"), twice)
		if got := summary(r.replies()); got != "[2]" {
			t.Errorf("got %s", got)
		}
	})
}

func TestSessionLostWhileHandling(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		p := r.start(r.conn, func(ctx context.Context, n int) (int, error) {
			runs.add(1)
			time.Sleep(time.Second)
			return 2 * n, ctx.Err()
		})
		r.send(r.request("1", func(m *conn.Message) { m.Persistent = true })) // one that the broker delivers again
		r.send(one(r.caller))                                                 // and one that its caller sends again
		time.Sleep(300 * time.Millisecond)
		r.conn.Lose()
		r.replyTo = r.listen(conn.Queue{Exclusive: true, AutoDelete: true})
		r.send(one(r.caller))
		r.send(r.request("3")) // the next session serves
		time.Sleep(time.Second)
		got := r.replies()
		if s := summary(got); s != "[2* 2* 2* 6]" || runs.ran() != 3 {
			t.Errorf("got %s of %d runs, want [2* 2* 2* 6] of 3", s, runs.ran())
		}
		if i := slices.IndexFunc(got, func(m *conn.Message) bool { return m.CorrelationID == "same" && m.Key == r.replyTo }); i < 0 {
			t.Errorf("got %v, want the stored reply in %s", got, r.replyTo)
		}
		if got := p.Stats().Running; got != 0 {
			t.Errorf("%d run at the end", got)
		}
	})
}

func TestWorkersBound(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs), server.WithWorkers(3), server.WithQueue("rpc_queue", "double"))
		for range 10 {
			r.send(r.request("1", func(m *conn.Message) { m.Expiration, m.Headers["rpc-timeout-ms"] = "60000", int64(60_000) }))
			r.send(r.plain("1", func(m *conn.Message) { m.Headers = map[string]any{"rpc-timeout-ms": int64(60_000)} }))
		}
		for range 5 {
			time.Sleep(700 * time.Millisecond)
			r.conn.Lose()
		}
		time.Sleep(time.Minute)
		ids := make(map[string]bool)
		for _, m := range r.replies() {
			ids[m.CorrelationID] = true
		}
		if len(ids) != 20 || runs.ran() != 20 || runs.most != 3 {
			t.Errorf("%d calls answered, %d runs, at most %d at a time, want 20, 20 and 3", len(ids), runs.ran(), runs.most)
		}
	})
}

func TestQueueWithOtherArguments(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice)
		p := r.launch(r.broker.Connector("other"), func(s *server.Server) { server.Handle(s, double, twice) }, server.WithQuorumQueue(5))
		err := p.wait()
		if !errors.Is(err, conn.ErrPrecondition) || !strings.Contains(err.Error(), "rabbitrpc.math") || !strings.Contains(err.Error(), "delete the queue") {
			t.Errorf("run: %v, want what to do with which queue", err)
		}
		r.mustAnswer() // the other server does not mind
	})
}

func TestQuorumQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.start(r.conn, twice, server.WithQuorumQueue(2))
		r.mustAnswer()
		if err := p.stop(); err != nil {
			t.Fatalf("run: %v", err)
		}
		p = r.start(r.conn, func(context.Context, int) (int, error) {
			r.conn.Lose() // whoever runs this one dies
			return 0, nil
		}, server.WithQuorumQueue(2), server.WithPoisonLimit(0), server.WithStore(nil))
		r.send(r.request("1"))
		got := r.replies()
		if len(got) != 1 || got[0].Headers["x-first-death-reason"] != "delivery_limit" || p.Stats().Received != 3 {
			t.Errorf("got %v after %d deliveries, want the request back after 3", got, p.Stats().Received)
		}
	})
}

// A session that dies of a 406 has not been told that a queue exists with other arguments.
func TestSessionEndsWithPrecondition(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.start(r.conn, twice)
		s, err := r.conn.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pub, err := s.OpenPublisher(t.Context(), func(*conn.Return) {})
		if err != nil {
			t.Fatal(err)
		}
		pub.Publish(&conn.Message{Key: "x", UserID: "somebody else"}, nil)
		synctest.Wait()
		if !errors.Is(s.Err(), conn.ErrPrecondition) {
			t.Fatalf("session: %v", s.Err())
		}
		r.mustAnswer()
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestRefusedKeepsTrying(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		refusals := 5
		c := &hooked{Connector: r.conn, declare: func() error {
			mu.Lock()
			defer mu.Unlock()
			if refusals == 0 {
				return nil
			}
			refusals--
			return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}
		}}
		start := time.Now()
		p := r.start(c, twice, server.WithoutDiscovery())
		if d := time.Since(start); d < 5*time.Second || d > 15*time.Second {
			t.Errorf("five refusals took %v, want 1s to 3s each", d)
		}
		r.mustAnswer()
		if c.publishers != 1 {
			t.Errorf("%d publishers in one session, want 1", c.publishers)
		}
		if log := r.log.String(); strings.Count(log, "ACCESS_REFUSED") != 5 {
			t.Errorf("log:\n%s", log)
		}
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		if c.publishers != 0 {
			t.Errorf("%d publishers are left in the session", c.publishers)
		}
	})
}

func TestStopWhileRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c := &hooked{Connector: r.conn, declare: func() error { return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"} }}
		p := r.launch(c, func(s *server.Server) { server.Handle(s, double, twice) })
		time.Sleep(time.Second)
		start := time.Now()
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		took(t, start, 0)
	})
}

func TestBrokerRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.start(r.conn, twice)
		r.broker.Stop()
		time.Sleep(time.Minute)
		r.broker.Start()
		synctest.Wait()
		r.caller = newCaller(t, r.broker)
		r.mustAnswer()
		r.broker.Stop()
		if err := p.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
		r.broker.Start()
	})
}

func TestConnectorCloses(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.start(r.conn, twice)
		r.conn.Close(t.Context())
		if err := p.wait(); !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("run: %v, want not connected", err)
		}
	})
}

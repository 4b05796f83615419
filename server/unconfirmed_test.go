package server_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A worker does not wait for the confirmation of its answer.
func TestWorkerIsFree(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice, server.WithWorkers(1), server.WithQueue("rpc_queue", "double"))
		struck := r.conn.Fail(conntest.LateConfirm(1, 5*time.Second))
		r.send(r.request("1"))
		<-struck
		r.send(r.plain("2"))
		if got := summary(r.replies()); got != "[2 4]" || unacked(r) != 1 {
			t.Errorf("got %s, %d unacknowledged, want both and the one that is not confirmed", got, unacked(r))
		}
		time.Sleep(5 * time.Second)
		if n := unacked(r); n != 0 {
			t.Errorf("%d unacknowledged once it is confirmed", n)
		}
	})
}

// Run ends when what was answered is acknowledged, not when the workers have ended.
func TestDrainUnconfirmed(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  conntest.Fault
		limit  time.Duration
		during func(r *rig) // a second after the drain has begun
		took   time.Duration
		ok     bool
		later  string // replies from another server, to which the request goes
	}{
		{"confirmed in time", conntest.LateConfirm(1, 5*time.Second), time.Minute, nil, 5 * time.Second, true, "[]"},
		{"confirmed too late", conntest.LateConfirm(1, 8*time.Second), 2 * time.Second, nil, 3 * time.Second, false, "[]"},
		{"never confirmed", conntest.DropConfirm(1), time.Minute, nil, 10 * time.Second, true, "[]"},
		{"session lost", conntest.DropConfirm(1), time.Minute, func(r *rig) { r.conn.Lose() }, time.Second, true, "[2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, twice, server.WithDrain(c.limit))
				struck := r.conn.Fail(c.fault)
				r.send(r.request("1"))
				<-struck
				if got := summary(r.replies()); got != "[2]" {
					t.Fatalf("got %s before the drain", got)
				}
				if c.during != nil {
					time.AfterFunc(time.Second, func() { c.during(r) })
				}
				start := time.Now()
				if err := p.stop(); (err == nil) != c.ok {
					t.Errorf("run: %v", err)
				}
				took(t, start, c.took)
				time.Sleep(7 * time.Second)
				r.start(r.broker.Connector("other"), twice)
				if got := summary(r.replies()); got != c.later {
					t.Errorf("another server: got %s, want %s", got, c.later)
				}
			})
		})
	}
}

// Nobody knows whether an answer was lost that was not confirmed when the broker took the queue away: it is sent again.
func TestUnconfirmedWithoutItsQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice)
		struck := r.conn.Fail(conntest.DropConfirm(1))
		r.send(one(r.caller))
		<-struck
		if got := summary(r.replies()); got != "[2]" {
			t.Fatalf("got %s", got)
		}
		s, err := r.broker.Connector("operator").Session(t.Context())
		if err == nil {
			err = s.DeleteQueue(t.Context(), "rabbitrpc.math")
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := summary(r.replies()); got != "[2]" {
			t.Errorf("got %s, want it again", got)
		}
	})
}

// The time that the broker has for a confirmation begins with the publish, not with an alarm before it.
func TestUnconfirmedAfterAlarm(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, func(context.Context, int) (int, error) {
			r.broker.Block()
			return 2, nil
		})
		struck := r.conn.Fail(conntest.LateConfirm(1, 5*time.Second))
		r.send(r.request("1"))
		synctest.Wait()
		time.Sleep(time.Minute)
		if n := unacked(r); n != 1 {
			t.Errorf("%d unacknowledged in the alarm, want 1", n)
		}
		r.broker.Unblock()
		<-struck
		time.Sleep(4 * time.Second)
		if n := unacked(r); n != 1 {
			t.Errorf("%d unacknowledged before the confirmation, want 1", n)
		}
		time.Sleep(2 * time.Second)
		if got := summary(r.replies()); got != "[2]" || unacked(r) != 0 {
			t.Errorf("got %s, %d unacknowledged", got, unacked(r))
		}
	})
}

// A session may end with answers that are not confirmed: each request comes again, and none is forgotten.
func TestUnconfirmedInLostSession(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(0, &runs), server.WithWorkers(4))
		for n := range 4 {
			r.conn.Fail(conntest.DropConfirm(n + 1))
		}
		for range 4 {
			r.send(r.request("1", func(m *conn.Message) { m.Persistent = true }))
		}
		if got := summary(r.replies()); got != "[2 2 2 2]" || unacked(r) != 4 {
			t.Errorf("got %s, %d unacknowledged, want 4", got, unacked(r))
		}
		r.conn.Lose()
		if got := summary(r.replies()); got != "[2* 2* 2* 2*]" || unacked(r) != 0 || runs.ran() != 4 {
			t.Errorf("after the loss: got %s of %d runs, %d unacknowledged", got, runs.ran(), unacked(r))
		}
	})
}

// An answer that is still being published when another is given up is not given up with it.
func TestUnconfirmedWhilePublishing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice)
		for n := range 2 {
			r.conn.Fail(conntest.DropConfirm(n + 1))
		}
		r.conn.Fail(conntest.SlowPublish(2, 15*time.Second))
		r.send(r.request("1"))
		synctest.Wait()
		r.send(r.request("2"))
		for i, want := range []int{2, 2, 1, 0} { // the first ends after 10s, the second 10s after its publish
			if n := unacked(r); n != want {
				t.Errorf("after %v: %d unacknowledged, want %d", time.Duration(i)*9*time.Second, n, want)
			}
			time.Sleep(9 * time.Second)
		}
		r.replies()
	})
}

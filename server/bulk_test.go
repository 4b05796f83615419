package server_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// sometimesLong takes a second for 0.
func sometimesLong(_ context.Context, n int) (int, error) {
	if n == 0 {
		time.Sleep(time.Second)
	}
	return n, nil
}

// The server does more at once while all callers have it so, and it is not short of workers.
func TestBulk(t *testing.T) {
	for _, c := range []struct {
		name        string
		runs        int           // handlers that take long, all the time
		every       time.Duration // a request arrives
		single      int           // each so many requests one is of another caller
		gathers, on bool          // ever, and in the end
	}{
		{"all in bulk", 0, time.Millisecond, 1000, true, true},
		{"another caller, often", 0, time.Millisecond, 50, false, false},
		{"another caller, at last", 0, time.Millisecond, 200, true, false},
		{"busy", 40, time.Millisecond, 1000, false, false},
		{"few", 0, 20 * time.Millisecond, 1000, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var mu sync.Mutex // guards what follows
				var gathers int
				var last time.Time
				var latest time.Duration
				waits := make(map[time.Duration]bool)
				h := &hooked{Connector: r.conn, gather: func(wait time.Duration, until time.Time) {
					mu.Lock()
					defer mu.Unlock()
					gathers++
					last = until
					waits[wait], latest = true, wait
				}}
				r.start(h, sometimesLong, server.WithWorkers(64))
				for range c.runs {
					r.send(r.request("0"))
				}
				r.replies()
				for i := range 200 {
					m := r.request("1")
					if (i+1)%c.single != 0 {
						m.Headers["rpc-gather-ms"] = int64(3 - i/195) // the last ones may wait for less
					}
					if _, err := r.ask(m); err != nil {
						t.Fatal(err)
					}
					time.Sleep(c.every)
				}
				mu.Lock()
				defer mu.Unlock()
				if on := last.After(time.Now()); c.gathers != (gathers > 0) || on != c.on {
					t.Errorf("gathered %d times, now %v, want %v, %v", gathers, on, c.gathers, c.on)
				}
				if c.on && (!waits[3*time.Millisecond] || latest != 2*time.Millisecond) {
					t.Errorf("waits %v, and %v in the end, want as long as the most hurried caller does", waits, latest)
				}
			})
		})
	}
}

// A server that gets busy waits no more, at once: while the queue is long, its workers would wait with it.
func TestBulkUntilBusy(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var wait atomic.Int64 // the latest
		h := &hooked{Connector: r.conn, gather: func(d time.Duration, _ time.Time) { wait.Store(int64(d)) }}
		r.start(h, sometimesLong, server.WithWorkers(16))
		send := func(n int, body string) {
			for range n {
				m := r.request(body)
				m.Headers["rpc-gather-ms"] = int64(4)
				r.send(m)
				synctest.Wait()
			}
		}
		send(100, "1")
		if got := time.Duration(wait.Load()); got != 4*time.Millisecond {
			t.Fatalf("it waits %v, want 4ms", got)
		}
		send(16, "0")
		if got := time.Duration(wait.Load()); got != 0 {
			t.Errorf("it waits %v with all workers busy", got)
		}
		time.Sleep(2 * time.Second)
		r.replies()
	})
}

// The confirmation of a reply may wait while less than half of what the server may have runs, or is not acknowledged.
func TestConfirmLater(t *testing.T) {
	for _, c := range []struct {
		name        string
		runs, waits int // handlers, and answers for their confirmation
		later       bool
	}{
		{"idle", 0, 0, true},
		{"handlers run", 6, 0, true},
		{"half of them run", 7, 0, false},
		{"not confirmed", 0, 6, true},
		{"half is not confirmed", 0, 7, false},
		{"some of both", 4, 3, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var later atomic.Bool // of the last reply
				h := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, _ func(bool)) error {
					later.Store(m.ConfirmLater)
					return p.Publish(m, nil) // it is never confirmed
				}}
				r.start(h, sometimesLong, server.WithWorkers(16))
				for range c.runs {
					r.send(r.request("0"))
				}
				for range c.waits {
					r.send(r.request("1"))
				}
				if got := len(r.replies()); got != c.waits {
					t.Fatalf("got %d replies, want %d", got, c.waits)
				}
				if _, err := r.ask(r.request("1")); err != nil {
					t.Fatal(err)
				}
				if got := later.Load(); got != c.later {
					t.Errorf("may be confirmed later: %v, want %v", got, c.later)
				}
				time.Sleep(15 * time.Second) // what is not confirmed is acknowledged all the same
				r.replies()
			})
		})
	}
}

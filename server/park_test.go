package server_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/bolt"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// copies is how many of the service's requests the broker has, parked ones included.
func (r *rig) copies() (n int) {
	for _, q := range r.broker.Queues() {
		if strings.HasPrefix(q.Name, "rabbitrpc.math") {
			n += q.Ready + q.Unacked
		}
	}
	return n
}

// forever makes a request that waits in the queue for as long as it takes, of a call with that timeout.
func forever(ms int64) func(*conn.Message) {
	return func(m *conn.Message) { m.Headers["rpc-timeout-ms"], m.Persistent, m.Expiration = ms, true, "" }
}

// A request whose time is over while it is being parked is acknowledged when it has been parked, and not before.
func TestOverdueWhileParking(t *testing.T) {
	t.Run("alarm", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			p := r.start(r.conn, twice, memory(t, 5))
			p.Pause()
			synctest.Wait()
			r.send(r.request("21", forever(2000)))
			r.broker.Block()
			p.Resume()
			time.Sleep(time.Minute)
			r.broker.Unblock()
			time.Sleep(20 * time.Second)
			if n := r.copies(); n != 1 || p.Stats().Parked != 1 || len(r.parked()) != 1 {
				t.Errorf("%d copies and %d parked, want 1\n%s", n, p.Stats().Parked, r.log)
			}
		})
	})
	t.Run("no confirmation", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			var refuse atomic.Bool
			refuse.Store(true)
			c := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				if m.Key == "rabbitrpc.math.parked" && refuse.Load() {
					return nil // its quorum queue has no leader, say
				}
				return p.Publish(m, confirmed)
			}}
			r.start(c, twice, memory(t, 5))
			r.send(r.request("21", forever(3000)))
			time.Sleep(20 * time.Second)
			if unacked(r) != 1 {
				t.Error("acknowledged before it was parked")
			}
			refuse.Store(false)
			time.Sleep(20 * time.Second)
			if n := r.copies(); n != 1 || len(r.parked()) != 1 {
				t.Errorf("%d copies, want 1\n%s", n, r.log)
			}
		})
	})
}

// A server that stops while it tries to park a request leaves it to the broker, though its time is over.
func TestStopWhileParking(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var refuse atomic.Bool
		c := &hooked{Connector: r.conn, declare: func() error {
			if refuse.Load() {
				return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}
			}
			return nil
		}}
		p := r.start(c, twice, memory(t, 5), server.WithDrain(time.Second))
		refuse.Store(true)
		r.send(r.request("21", forever(1000)))
		time.Sleep(10 * time.Second)
		p.stop()
		if n := r.copies(); n != 1 {
			t.Errorf("%d copies, want 1\n%s", n, r.log)
		}
		refuse.Store(false)
		r.start(c, twice, memory(t, 5))
		time.Sleep(10 * time.Second)
		if n := len(r.parked()); n != 1 {
			t.Errorf("%d parked, want 1", n)
		}
	})
}

// A parked queue that somebody has made with other properties serves as well.
func TestParkedQueueOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		admin, err := r.broker.Connector("admin").Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin.DeclareQueue(t.Context(), conn.Queue{Name: "rabbitrpc.math.parked", Durable: true}); err != nil {
			t.Fatal(err)
		}
		r.start(r.conn, twice, memory(t, 5))
		r.send(r.request("21"))
		if n := len(r.parked()); n != 1 || strings.Contains(r.log.String(), "cannot be parked") {
			t.Errorf("%d parked, want 1\n%s", n, r.log)
		}
	})
}

// What the store has counted is not forgotten when parking fails: the request does not run again.
func TestParkingLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls")
	key := idempotency.Key{Client: "caller", Service: "math", Method: "double", ID: "id-1"}
	fingerprint := idempotency.FingerprintOf(&rpc.Request{ContentType: "application/json", Body: []byte("21")})
	for range 5 { // servers die with the call
		s, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(t.Context(), key, fingerprint); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	inBubble(t, func(t *testing.T, r *rig) {
		store, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		var runs counter
		var refuse atomic.Bool
		c := &hooked{Connector: r.conn, declare: func() error {
			if refuse.Load() {
				return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}
			}
			return nil
		}}
		p := r.start(c, slow(0, &runs), server.WithStore(store))
		refuse.Store(true)
		r.send(r.request("21", forever(10_000)))
		synctest.Wait()
		refuse.Store(false)
		r.conn.Lose()
		time.Sleep(10 * time.Second)
		if runs.ran() != 0 || len(r.parked()) != 1 {
			t.Errorf("it ran %d times, want it parked\n%s", runs.ran(), r.log)
		}
		p.stop()
	})
}

// In a classic queue the count of deliveries is whatever the caller says.
func TestForgedDeliveryCount(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice)
		reply, err := r.ask(r.request("21", func(m *conn.Message) { m.Headers["x-delivery-count"] = int64(1000) }))
		if err != nil || string(reply.Body) != "42" {
			t.Errorf("got %v, %v, want it run", reply, err)
		}
		r.conn.Lose()
		synctest.Wait()
		lost := false
		r.start(r.broker.Connector("second"), twice)
		r.start(r.conn, func(_ context.Context, n int) (int, error) {
			if !lost {
				lost = true
				r.conn.Lose()
			}
			return 2 * n, nil
		})
		for i := range 4 { // one of them comes again
			r.send(r.request(fmt.Sprint(i), forever(10_000), func(m *conn.Message) { m.Headers["x-delivery-count"] = int64(1000) }))
		}
		if n := len(r.replies()); n < 4 || len(r.parkedIfAny()) != 0 {
			t.Errorf("%d replies, want them all, and nothing parked\n%s", n, r.log)
		}
	})
}

// fullParked returns a connector with which the broker refuses what is to be parked, until room is called.
func fullParked(r *rig) (c conn.Connector, room func()) {
	var refuse atomic.Bool
	refuse.Store(true)
	return &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
		if m.Key == "rabbitrpc.math.parked" && refuse.Load() {
			confirmed(false)
			return nil
		}
		return p.Publish(m, confirmed)
	}}, func() { refuse.Store(false) }
}

// A request that cannot be parked is not given back to a quorum queue that would give it up.
func TestParkingAtTheLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c, room := fullParked(r)
		r.start(c, func(context.Context, int) (int, error) {
			r.conn.Lose()
			return 0, nil
		}, server.WithQuorumQueue(2), server.WithStore(nil))
		r.send(r.request("1", forever(10_000), func(m *conn.Message) { // its caller is gone
			m.ReplyTo, m.Headers["CC"] = "amq.gen-gone", []any{"amq.gen-gone"}
		}))
		time.Sleep(10 * time.Second)
		if n := r.copies(); n != 1 {
			t.Errorf("%d copies, want 1\n%s", n, r.log)
		}
		room()
		time.Sleep(10 * time.Second)
		if n := len(r.parked()); n != 1 {
			t.Errorf("%d parked, want 1\n%s", n, r.log)
		}
	})
}

// What the broker refuses is not there: it is said to be refused, and tried again soon, however often that was.
func TestParkingRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		c, room := fullParked(r)
		r.start(c, twice, memory(t, 5))
		r.send(r.request("21", forever(1_000_000)))
		time.Sleep(time.Minute)
		if log := r.log.String(); !strings.Contains(log, "refused by the broker") || strings.Contains(log, "in time") {
			t.Errorf("want it said that the broker refuses; log:\n%s", log)
		}
		room()
		time.Sleep(3 * time.Second)
		if n := len(r.parked()); n != 1 {
			t.Errorf("%d parked, want 1", n)
		}
	})
}

// A parked queue that is deleted just then takes nothing, though the broker confirms.
func TestParkedQueueDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		admin, err := r.broker.Connector("admin").Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		deleted := false
		c := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
			if m.Key == "rabbitrpc.math.parked" && !deleted {
				deleted = true
				admin.DeleteQueue(context.Background(), m.Key)
			}
			return p.Publish(m, confirmed)
		}}
		p := r.start(c, twice, memory(t, 5))
		r.send(r.request("21"))
		synctest.Wait()
		if n := p.Stats().Parked; n != 0 {
			t.Errorf("%d parked at first, want none", n)
		}
		time.Sleep(5 * time.Second)
		if len(r.parked()) != 1 || p.Stats().Parked != 1 {
			t.Errorf("want it parked in the end\n%s", r.log)
		}
	})
}

// A server that may have to park requests has their queue from the start, or says that it has not.
func TestParkedQueueIsDeclared(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []server.Option
		want bool
	}{
		{"nobody counts", nil, false},
		{"quorum queue", []server.Option{server.WithQuorumQueue(3)}, true},
		{"store", []server.Option{memory(t, 0)}, true},
		{"no limit", []server.Option{memory(t, 0), server.WithPoisonLimit(0)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.start(r.conn, twice, c.opts...)
				got := false
				for _, q := range r.broker.Queues() {
					got = got || q.Name == "rabbitrpc.math.parked"
				}
				if got != c.want {
					t.Errorf("declared = %v, want %v", got, c.want)
				}
				if c.name == "store" {
					admin, err := r.broker.Connector("admin").Session(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					q := conn.Queue{Name: "rabbitrpc.math.parked", Durable: true, Args: map[string]any{"x-max-length": int64(10_000)}}
					if _, err := admin.DeclareQueue(t.Context(), q); err != nil {
						t.Errorf("the queue is not bounded: %v", err)
					}
				}
			})
		})
	}
	t.Run("refused", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			calls := 0
			c := &hooked{Connector: r.conn, declare: func() error {
				if calls++; calls == 2 {
					return &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}
				}
				return nil
			}}
			r.start(c, twice, memory(t, 0), server.WithoutDiscovery()) // which declares a queue, too
			r.mustAnswer()
			if log := r.log.String(); !strings.Contains(log, "requests that kill servers cannot be parked") {
				t.Errorf("log:\n%s", log)
			}
		})
	})
}

// lateCancel is a connector whose consumers are slow to end.
type lateCancel struct{ conn.Connector }
type lateSession struct{ conn.Session }
type lateConsumer struct{ conn.Consumer }

func (l lateCancel) Session(ctx context.Context) (conn.Session, error) {
	s, err := l.Connector.Session(ctx)
	return lateSession{s}, err
}
func (s lateSession) Consume(ctx context.Context, c conn.Consume, h func(*conn.Delivery)) (conn.Consumer, error) {
	k, err := s.Session.Consume(ctx, c, h)
	return lateConsumer{k}, err
}
func (c lateConsumer) Cancel(ctx context.Context) error { // the broker takes seven seconds
	<-ctx.Done()
	time.AfterFunc(2*time.Second, func() { c.Consumer.Cancel(context.Background()) })
	return ctx.Err()
}

// What is delivered after the end of a server goes to another.
func TestLateDelivery(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.start(lateCancel{r.conn}, twice)
		p.stop()
		r.start(r.broker.Connector("other"), twice)
		r.send(r.request("1"))
		r.send(r.request("2"))
		time.Sleep(time.Minute)
		if got := summary(r.replies()); got != "[2 4]" {
			t.Errorf("got %s: a server that has ended keeps a request, %d unacked", got, unacked(r))
		}
		r.conn.Lose()
		synctest.Wait()
	})
}

// A parked queue that does not confirm may have the request all the same: it does not get many copies.
func TestParkedQueueIsMute(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var mute atomic.Bool
		mute.Store(true)
		c := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
			if m.Key == wire.ParkedQueue("math") && mute.Load() {
				return p.Publish(m, func(bool) {})
			}
			return p.Publish(m, confirmed)
		}}
		r.start(c, twice, memory(t, 5))
		r.send(r.request("21", forever(3600_000*5)))
		time.Sleep(time.Hour)
		mute.Store(false)
		time.Sleep(11 * time.Minute)
		if n := len(r.parked()); n < 2 || n > 16 {
			t.Errorf("%d copies after an hour, want a few, and the last one", n)
		}
		r.replies()
	})
}

package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

func unacked(r *rig) int {
	synctest.Wait()
	q, _ := r.broker.Queue("rabbitrpc.math")
	return q.Unacked
}

// The reply is sent before the request is acknowledged.
func TestReplyThenAck(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var once sync.Once
		c := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
			once.Do(func() {
				if q, _ := r.broker.Queue("rabbitrpc.math"); q.Unacked != 1 {
					t.Errorf("before the reply: %+v, want the request unacknowledged", q)
				}
			})
			return p.Publish(m, confirmed)
		}}
		r.start(c, twice)
		r.mustAnswer()
		if n := unacked(r); n != 0 {
			t.Errorf("%d unacknowledged", n)
		}
	})
}

func TestUnroutableReply(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		p := r.start(r.conn, slow(time.Second, &runs))
		gone := newCaller(t, r.broker)
		gone.send(one(gone))
		synctest.Wait()
		gone.conn.Lose()
		time.Sleep(time.Second)
		if n := unacked(r); n != 0 || p.Stats().Unroutable != 1 {
			t.Errorf("%d unacknowledged, %+v, want none and one unroutable", n, p.Stats())
		}
		r.send(one(r.caller)) // the caller is back, with a new reply queue
		if got := summary(r.replies()); got != "[2*]" || runs.ran() != 1 {
			t.Errorf("got %s of %d runs, want the stored reply", got, runs.ran())
		}
	})
}

// The request is acknowledged once the broker has the reply for sure: the two take different connections, and of a server
// that is killed in between the broker may see the one and not the other.
func TestReplyConfirmed(t *testing.T) {
	for _, c := range []struct {
		name    string
		faults  []conntest.Fault
		unacked int
		late    string // replies once the session is lost
	}{
		{"confirmed", nil, 0, "[]"},
		{"confirmation lost", []conntest.Fault{conntest.DropConfirm(1)}, 1, "[2*]"},
		{"refused", []conntest.Fault{conntest.RefusePublish(1)}, 0, "[]"}, // by the caller's queue: once more would not help
	} {
		for _, persistent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, persistent %v", c.name, persistent), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					var runs counter
					r.start(r.conn, slow(0, &runs))
					var struck []<-chan struct{}
					for _, f := range c.faults {
						struck = append(struck, r.conn.Fail(f))
					}
					r.send(r.request("1", func(m *conn.Message) { m.Persistent = persistent }))
					for _, m := range r.replies() {
						if m.Persistent != persistent || string(m.Body) != "2" {
							t.Errorf("got %+v, want 2, persistent %v", m, persistent)
						}
					}
					for _, s := range struck {
						<-s
					}
					time.Sleep(5 * time.Second)
					if n := unacked(r); n != c.unacked {
						t.Errorf("%d unacknowledged, want %d", n, c.unacked)
					}
					r.conn.Lose()
					if got := summary(r.replies()); got != c.late || runs.ran() != 1 {
						t.Errorf("after the loss: got %s of %d runs, want %s of 1", got, runs.ran(), c.late)
					}
					if n := unacked(r); n != 0 {
						t.Errorf("%d unacknowledged at the end", n)
					}
				})
			})
		}
	}
}

// A reply that is never confirmed does not keep its worker for ever.
func TestReplyNeverConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice, server.WithWorkers(1))
		struck := r.conn.Fail(conntest.DropConfirm(1))
		r.send(r.request("1"))
		<-struck
		r.replies()
		time.Sleep(5 * time.Second)
		r.send(r.request("2"))
		if got := summary(r.replies()); got != "[]" {
			t.Errorf("got %s while the only worker waits", got)
		}
		time.Sleep(5 * time.Second)
		if got := summary(r.replies()); got != "[4]" {
			t.Errorf("got %s after 10s, want [4]", got)
		}
		if n := unacked(r); n != 0 {
			t.Errorf("%d unacknowledged", n)
		}
	})
}

func TestBlockedReply(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(r *rig)
		want string
	}{
		{"until the alarm ends", func(r *rig) { r.broker.Unblock() }, "[2]"},
		{"until the session is lost", func(r *rig) { r.conn.Lose(); synctest.Wait(); r.broker.Unblock() }, "[2*]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var runs counter
				r.start(r.conn, slow(time.Second, &runs))
				r.send(r.request("1"))
				synctest.Wait()
				r.broker.Block()
				time.Sleep(5 * time.Second)
				if got := summary(r.replies()); got != "[]" || unacked(r) != 1 {
					t.Errorf("blocked: got %s, %d unacknowledged", got, unacked(r))
				}
				c.end(r)
				if got := summary(r.replies()); got != c.want || runs.ran() != 1 || unacked(r) != 0 {
					t.Errorf("got %s of %d runs, %d unacknowledged, want %s of 1", got, runs.ran(), unacked(r), c.want)
				}
			})
		})
	}
}

// The alarm is over between the refusal of a reply and the question how long it will last: there is nothing to wait for.
func TestUnblockedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		refusals := 3
		r.start(&hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
			if refusals > 0 {
				refusals--
				return conn.ErrBlocked
			}
			return p.Publish(m, confirmed)
		}}, twice, server.WithWorkers(1))
		r.mustAnswer()
	})
}

// A reply that cannot be sent is replaced by one that can, in an alarm too.
func TestInvalidReplyBlocked(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.launch(r.conn, func(s *server.Server) {
			s.Handle("double", func(context.Context, *rpc.Request) (*rpc.Reply, error) {
				time.Sleep(time.Second)
				return &rpc.Reply{ContentType: strings.Repeat("x", 300)}, nil
			})
		})
		time.Sleep(time.Second)
		r.send(r.request("1"))
		synctest.Wait()
		r.broker.Block()
		time.Sleep(3 * time.Second)
		r.broker.Unblock()
		if got := summary(r.replies()); got != "[internal]" || unacked(r) != 0 {
			t.Errorf("got %s, %d unacknowledged, want internal and none", got, unacked(r))
		}
	})
}

// The answer of a call that ran while its queue was deleted is sent in the next session: its request does not come back. One
// that says "not executed" is not: if the queue is there, who gets the request may execute it.
func TestAnsweredWithoutItsQueue(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"reply", nil, "[2]"},
		{"error, executed", rpc.Errorf(rpc.NotFound, "no"), "[not_found]"},
		{"error, not executed", rpc.Errorf(rpc.NotFound, "no").WithExecuted(rpc.ExecutedNo), "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.start(r.conn, func(_ context.Context, n int) (int, error) {
					time.Sleep(time.Second)
					return 2 * n, c.err
				})
				r.send(one(r.caller))
				synctest.Wait()
				s, err := r.broker.Connector("operator").Session(t.Context())
				if err == nil {
					err = s.DeleteQueue(t.Context(), "rabbitrpc.math")
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				if got := summary(r.replies()); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			})
		})
	}
}

// A reply to a direct reply-to waits for the end of an alarm like all others, whether its address is new or not.
func TestDirectReplyInAlarm(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs), server.WithQueue("rpc_queue", "double"))
		for range 2 {
			r.send(r.plain("1", func(m *conn.Message) { m.ReplyTo = "amq.rabbitmq.reply-to.x" }))
			synctest.Wait()
			r.broker.Block()
			time.Sleep(time.Minute)
			r.broker.Unblock()
			synctest.Wait()
		}
		if strings.Contains(r.log.String(), "reply dropped") {
			t.Errorf("said: %s", r.log)
		}
	})
}

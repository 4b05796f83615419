package server_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// summary is what replies say, sorted: the body of each, with a star if it was replayed, or the code of its error.
func summary(got []*conn.Message) string {
	var s []string
	for _, m := range got {
		reply, err := wire.DecodeReply(m)
		switch {
		case err != nil:
			s = append(s, rpc.CodeOf(err).String())
		case reply.Replayed:
			s = append(s, string(reply.Body)+"*")
		default:
			s = append(s, string(reply.Body))
		}
	}
	slices.Sort(s)
	return fmt.Sprint(s)
}

func TestRedelivered(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   conntest.Fault
		replies string
		opts    []server.Option
		runs    int
	}{
		{"acknowledgement lost", conntest.LoseAck(1), "[2 2*]", nil, 1},
		{"session lost after the reply", conntest.LoseAfterPublish(1), "[2 2*]", nil, 1},
		{"session lost before the reply", conntest.LoseBeforePublish(1), "[2*]", nil, 1},
		{"reply fails", conntest.FailPublish(1), "[2 2*]", nil, 1},
		{"delivered twice", conntest.DuplicateDelivery(1), "[2 2*]", nil, 1},
		{"no store, acknowledgement lost", conntest.LoseAck(1), "[2 2]", []server.Option{server.WithStore(nil)}, 2},
		{"no store, delivered twice", conntest.DuplicateDelivery(1), "[2 2]", []server.Option{server.WithStore(nil)}, 2},
	} {
		for _, persistent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, persistent %v", c.name, persistent), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					var runs counter
					p := r.start(r.conn, slow(0, &runs), c.opts...)
					struck := r.conn.Fail(c.fault)
					r.send(r.request("1", func(m *conn.Message) { m.Persistent = persistent }))
					if got := summary(r.replies()); got != c.replies || runs.ran() != c.runs {
						t.Errorf("got %s of %d runs, want %s of %d", got, runs.ran(), c.replies, c.runs)
					}
					<-struck
					if got := p.Stats().Replayed; got != uint64(2-c.runs) {
						t.Errorf("%d replayed, want %d", got, 2-c.runs)
					}
					r.mustAnswer()
				})
			})
		}
	}
}

// Who wants a call to be executed at most once does not rely on a store.
func TestAtMostOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(0, &runs), server.WithStore(nil))
		struck := r.conn.Fail(conntest.LoseAck(1))
		r.send(r.request("1", func(m *conn.Message) { m.Headers["rpc-at-most-once"] = true }))
		if got := summary(r.replies()); got != "[2 unavailable]" || runs.ran() != 1 {
			t.Errorf("got %s of %d runs, want a reply and a refusal of one", got, runs.ran())
		}
		<-struck
	})
}

// Attempts of one call, by the same caller or by another.
func TestSameID(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  func(*caller) *conn.Message
		second func(*caller) *conn.Message
		want   string
		runs   int
	}{
		{"attempt of a call that was answered", one, one, "[2 2*]", 1},
		{"attempt with other headers", one, with(func(m *conn.Message) {
			m.Headers["rpc-attempt"], m.Headers["traceparent"] = int64(2), "00-1"
		}), "[2 2*]", 1},
		{"another payload", one, with(func(m *conn.Message) { m.Body = []byte("7") }), "[2 invalid_argument]", 1},
		{"another content type", one, with(func(m *conn.Message) { m.ContentType = "text/plain" }), "[2 invalid_argument]", 1},
		{"another client", one, with(func(m *conn.Message) { m.AppID = "other" }), "[2 2]", 2},
		{"another method", one, with(func(m *conn.Message) { m.Type = "same" }), "[2 2]", 2},
		{"failed call", of("fails"), of("fails"), "[aborted aborted]", 1},
		{"call that was denied", of("denies"), of("denies"), "[aborted aborted]", 2},
		{"plain", plainly("1"), plainly("1"), "[2 2*]", 1},
		{"plain, another payload", plainly("1"), plainly("7"), "[2 invalid_argument]", 1},
		{"plain, no ID", noID, noID, "[2 2]", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var runs counter
				p := r.launch(r.conn, func(s *server.Server) {
					server.Handle(s, double, slow(0, &runs))
					same := double
					same.Name = "same"
					server.Handle(s, same, slow(0, &runs))
					for name, executed := range map[string]rpc.Execution{"fails": rpc.ExecutedYes, "denies": rpc.ExecutedNo} {
						s.Handle(name, func(context.Context, *rpc.Request) (*rpc.Reply, error) {
							runs.add(1)
							return nil, rpc.Errorf(rpc.Aborted, "x").WithExecuted(executed)
						})
					}
				}, server.WithQueue("rpc_queue", "double"))
				<-p.Ready()
				r.send(c.first(r.caller))
				got := r.replies()
				r.send(c.second(r.caller))
				got = append(got, r.replies()...)
				if s := summary(got); s != c.want || runs.ran() != c.runs {
					t.Errorf("got %s of %d runs, want %s of %d", s, runs.ran(), c.want, c.runs)
				}
				for _, m := range got {
					if _, said := m.Headers["rpc-replayed"]; said && string(m.Body) != string(got[0].Body) {
						t.Errorf("replayed %q, the first answer was %q", m.Body, got[0].Body)
					}
				}
			})
		})
	}
}

func one(c *caller) *conn.Message {
	return c.request("1", func(m *conn.Message) { m.CorrelationID = "same" })
}

func with(edit func(*conn.Message)) func(*caller) *conn.Message {
	return func(c *caller) *conn.Message {
		m := one(c)
		edit(m)
		return m
	}
}

func of(method string) func(*caller) *conn.Message {
	return with(func(m *conn.Message) { m.Type = method })
}

func plainly(body string) func(*caller) *conn.Message {
	return func(c *caller) *conn.Message {
		return c.plain(body, func(m *conn.Message) { m.CorrelationID = "same" })
	}
}

func noID(c *caller) *conn.Message {
	return c.plain("1", func(m *conn.Message) { m.CorrelationID = "" })
}

// The tutorial's clients count their calls from 1, each for itself.
func TestSameIDOfTwoCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs), server.WithQueue("rpc_queue", "double"))
		other := newCaller(t, r.broker)
		numbered := func(m *conn.Message) { m.CorrelationID = "1" }
		r.send(r.plain("1", numbered))
		other.send(other.plain("5", numbered))
		time.Sleep(time.Second)
		if got, others := summary(r.replies()), summary(other.replies()); got != "[2]" || others != "[10]" || runs.ran() != 2 {
			t.Errorf("got %s and %s of %d runs, want 2 and 10 of 2", got, others, runs.ran())
		}
	})
}

// A duplicate of a call that runs waits for it, and both are answered.
func TestDuplicateWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs))
		for range 3 {
			r.send(one(r.caller))
		}
		time.Sleep(time.Second)
		if got := summary(r.replies()); got != "[2 2* 2*]" || runs.ran() != 1 {
			t.Errorf("got %s of %d runs, want three answers of one", got, runs.ran())
		}
	})
}

// A store that outlives the server lets the next one answer its calls.
func TestStoreIsShared(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		store, err := idempotency.NewLRU()
		if err != nil {
			t.Fatal(err)
		}
		var runs counter
		p := r.start(r.conn, slow(0, &runs), server.WithStore(store))
		r.send(one(r.caller))
		synctest.Wait()
		p.stop()
		r.start(r.conn, slow(0, &runs), server.WithStore(store), server.WithName("host/2"))
		r.send(one(r.caller))
		got := r.replies()
		if s := summary(got); s != "[2 2*]" || runs.ran() != 1 {
			t.Fatalf("got %s of %d runs, want [2 2*] of 1", s, runs.ran())
		}
	})
}

// A no to a request that was delivered before says nothing of what came of it then.
func TestRefusedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, func(context.Context, int) (int, error) {
			return 0, rpc.Errorf(rpc.Aborted, "no").WithExecuted(rpc.ExecutedNo)
		})
		struck := r.conn.Fail(conntest.LoseAck(1))
		r.send(r.request("1"))
		var got []rpc.Execution
		for _, m := range r.replies() {
			_, err := wire.DecodeReply(m)
			got = append(got, rpc.Executed(err))
		}
		<-struck
		if want := []rpc.Execution{rpc.ExecutedNo, rpc.ExecutedUnknown}; !slices.Equal(got, want) {
			t.Errorf("got executed %v, want %v", got, want)
		}
	})
}

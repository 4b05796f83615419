package server_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// remembering is a store that survives: each call that it is asked about was started before, that many times.
type remembering struct {
	idempotency.Store
	starts int
}

func (s remembering) Begin(ctx context.Context, k idempotency.Key, f idempotency.Fingerprint) (idempotency.Begun, error) {
	begun, err := s.Store.Begin(ctx, k, f)
	if begun.State == idempotency.New && s.starts > 0 {
		begun.State, begun.Claims = idempotency.Orphaned, s.starts+1
	}
	return begun, err
}

func memory(t *testing.T, starts int) server.Option {
	t.Helper()
	lru, err := idempotency.NewLRU()
	if err != nil {
		t.Fatal(err)
	}
	return server.WithStore(remembering{lru, starts})
}

// parkedIfAny is parked where there may be no such queue.
func (r *rig) parkedIfAny() []*conn.Delivery {
	for _, q := range r.broker.Queues() {
		if q.Name == "rabbitrpc.math.parked" {
			return r.parked()
		}
	}
	return nil
}

// parked takes what is in the parked queue.
func (r *rig) parked() []*conn.Delivery {
	r.t.Helper()
	s, err := r.broker.Connector("reader").Session(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var got []*conn.Delivery
	c, err := s.Consume(r.t.Context(), conn.Consume{Queue: "rabbitrpc.math.parked", Prefetch: 100}, func(d *conn.Delivery) {
		got = append(got, d)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	if err := c.Cancel(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	for _, d := range got {
		if err := d.Ack(); err != nil {
			r.t.Fatal(err)
		}
	}
	return got
}

// askSlowly is ask for a request that the server may hold back for a while.
func (r *rig) askSlowly(m *conn.Message) (*rpc.Reply, error) {
	r.t.Helper()
	r.send(m)
	time.Sleep(5 * time.Second)
	return wire.DecodeReply(r.reply())
}

// A request whose servers die is parked after so many starts, with all that is known, and its caller told.
func TestPoison(t *testing.T) {
	for _, c := range []struct {
		name   string
		starts int // that the store knows of
		opts   []server.Option
		runs   int
	}{
		{"counted by a store", 5, nil, 0},
		{"counted by a store, not yet enough", 4, nil, 1},
		{"a limit of one's own", 2, []server.Option{server.WithPoisonLimit(2)}, 0},
		{"without a limit", 1000, []server.Option{server.WithPoisonLimit(0)}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var runs counter
				var started time.Duration
				begin := time.Now()
				p := r.start(r.conn, func(_ context.Context, n int) (int, error) {
					runs.add(1)
					started = time.Since(begin)
					return 2 * n, nil
				}, append(c.opts, memory(t, c.starts))...)
				m := r.request("21", func(m *conn.Message) { m.Headers["tenant"], m.Headers["table"] = "a", []any{"x"} })
				_, err := r.askSlowly(m)
				if runs.ran() != c.runs {
					t.Errorf("%d runs, want %d", runs.ran(), c.runs)
				}
				if c.starts == 4 && started == 0 {
					t.Error("started at once: nothing keeps it apart from what died with it")
				}
				if c.runs > 0 {
					check(t, err, rpc.OK, rpc.ExecutedYes)
					return
				}
				check(t, err, rpc.Internal, rpc.ExecutedUnknown)
				want := fmt.Sprintf("request was given up: it was delivered %d times, and no server lived to answer it", c.starts)
				if got := err.(*rpc.Error).Message; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				got := r.parked()
				if len(got) != 1 {
					t.Fatalf("%d parked, want 1", len(got))
				}
				why, ok := wire.DecodeParked(&got[0].Message)
				if !ok || why.Attempts != c.starts || why.Server != "host/1" || time.Since(why.At) > 10*time.Second {
					t.Errorf("parked with %+v", why)
				}
				g := got[0].Message
				if string(g.Body) != "21" || g.CorrelationID != m.CorrelationID || g.Type != "double" || g.Headers["tenant"] != "a" || !g.Persistent {
					t.Errorf("parked %+v", g)
				}
				_, err = r.ask(m) // nor does it run again for a duplicate
				check(t, err, rpc.Internal, rpc.ExecutedUnknown)
				if p.Stats().Parked != 1 || runs.ran() != 0 {
					t.Errorf("%d parked and %d runs, want 1 and 0", p.Stats().Parked, runs.ran())
				}
				if log := r.log.String(); !strings.Contains(log, "request parked") || !strings.Contains(log, "queue=rabbitrpc.math.parked") {
					t.Errorf("log:\n%s", log)
				}
			})
		})
	}
}

// A request of a plain queue, which may say neither, is parked with the method and the content type that it was taken for.
func TestPoisonInPlainQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice, server.WithQueue("rpc_queue", "double"), memory(t, 5))
		_, err := r.ask(r.plain("21"))
		check(t, err, rpc.Internal, rpc.ExecutedUnknown)
		got := r.parked()
		if len(got) != 1 || got[0].Type != "double" || got[0].ContentType != "text/plain" || string(got[0].Body) != "21" {
			t.Errorf("parked %+v, want it for double", got)
		}
	})
}

// The server is quicker than the broker, which would give a poisonous request up without parking it.
func TestPoisonInQuorumQueue(t *testing.T) {
	for _, c := range []struct{ broker, server, runs int }{{2, 5, 2}, {5, 2, 2}, {3, 3, 3}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				var runs counter
				p := r.start(r.conn, func(context.Context, int) (int, error) {
					runs.add(1)
					r.conn.Lose() // whoever runs this one dies
					return 0, nil
				}, server.WithQuorumQueue(c.broker), server.WithPoisonLimit(c.server), server.WithStore(nil))
				_, err := r.askSlowly(r.request("1"))
				check(t, err, rpc.Internal, rpc.ExecutedUnknown)
				if runs.ran() != c.runs || len(r.parked()) != 1 || p.Stats().Parked != 1 {
					t.Errorf("%d runs, want %d; %d parked, want 1", runs.ran(), c.runs, p.Stats().Parked)
				}
			})
		})
	}
}

// A request that cannot be parked stays with the broker: nothing else has it.
func TestNotParked(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var refuse atomic.Bool
		c := &hooked{Connector: r.conn, declare: func() error {
			if refuse.Load() {
				return &conn.Error{Code: 541, Reason: "INTERNAL_ERROR"}
			}
			return nil
		}}
		r.start(c, twice, memory(t, 5))
		refuse.Store(true)
		r.send(r.request("21"))
		if got := r.replies(); len(got) != 0 {
			t.Errorf("got %v, want nothing yet", got)
		}
		refuse.Store(false)
		time.Sleep(3 * time.Second)
		_, err := wire.DecodeReply(r.reply())
		check(t, err, rpc.Internal, rpc.ExecutedUnknown)
		if len(r.parked()) != 1 || !strings.Contains(r.log.String(), "request cannot be parked") {
			t.Errorf("want it parked in the end; log:\n%s", r.log)
		}
	})
}

// A duplicate that was delivered before gets the outcome that the store has, though it must not run again.
func TestAtMostOnceDeliveredAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(time.Second, &runs))
		r.send(r.request("1", func(m *conn.Message) { m.Headers["rpc-at-most-once"] = true }))
		time.Sleep(500 * time.Millisecond)
		r.conn.Lose()
		time.Sleep(time.Second)
		got := r.replies()
		if s := summary(got); s != "[2*]" || runs.ran() != 1 {
			t.Errorf("got %s of %d runs, want the one outcome", s, runs.ran())
		}
	})
}

func TestRequestOf(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var got *rpc.Request
		r.start(r.conn, func(ctx context.Context, n int) (int, error) {
			got = rpc.RequestOf(ctx)
			return n, nil
		})
		m := r.request("7", func(m *conn.Message) { m.Headers["trace"], m.Headers["rpc-at-most-once"] = "x", true })
		if _, err := r.ask(m); err != nil {
			t.Fatal(err)
		}
		if got == nil || got.ID != m.CorrelationID || got.Method != "double" || got.Header["trace"] != "x" || !got.AtMostOnce || got.Redelivered {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAuthorizer(t *testing.T) {
	var asked []string
	var answer func() error
	authorizer := server.WithAuthorizer(func(_ context.Context, r *rpc.Request) error {
		asked = append(asked, fmt.Sprintf("%s %s %s", r.Method, r.Client, r.Header["role"]))
		return answer()
	})
	for _, c := range []struct {
		name    string
		answer  func() error
		method  string
		code    rpc.Code
		message string
		log     string
	}{
		{"yes", func() error { return nil }, "double", rpc.OK, "", ""},
		{"yes, to what is not there", func() error { return nil }, "other", rpc.Unimplemented, "service math has no method other", ""},
		{"no", func() error { return fmt.Errorf("role SECRET\x1b is missing") }, "double", rpc.PermissionDenied, "not permitted", "SECRET"},
		{"no, to what is not there", func() error { return fmt.Errorf("no") }, "other", rpc.PermissionDenied, "not permitted", ""},
		{"no, coded", func() error { return rpc.Errorf(rpc.Unauthenticated, "who are you") }, "double", rpc.Unauthenticated, "who are you", ""},
		{"of another service", func() error { return &rpc.Error{Code: rpc.Internal, Message: "x", Remote: true} }, "double", rpc.PermissionDenied, "not permitted", ""},
		{"panic", func() error { panic("SECRET") }, "double", rpc.Internal, "authorizer panicked", "SECRET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				asked, answer = nil, c.answer
				var runs counter
				r.start(r.conn, slow(0, &runs), authorizer)
				_, err := r.ask(r.request("{", func(m *conn.Message) { // what its body is does not matter yet
					m.Type, m.Headers["role"] = c.method, "clerk"
					if c.code == rpc.OK {
						m.Body = []byte("21")
					}
				}))
				if want := []string{c.method + " caller clerk"}; !slices.Equal(asked, want) {
					t.Errorf("asked about %q, want %q", asked, want)
				}
				if c.code == rpc.OK {
					check(t, err, rpc.OK, rpc.ExecutedYes)
					return
				}
				check(t, err, c.code, rpc.ExecutedNo)
				if e, ok := err.(*rpc.Error); ok && e.Message != c.message {
					t.Errorf("got %q, want %q", e.Message, c.message)
				}
				if log := r.log.String(); !strings.Contains(log, c.log) || runs.ran() != 0 {
					t.Errorf("%d runs, want 0; log, want %q:\n%s", runs.ran(), c.log, log)
				}
				answer = func() error { return nil }
				r.mustAnswer()
			})
		})
	}
}

// A flood of requests that are dropped does not keep the log from saying who was denied.
func TestDenialIsSaidInAFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice, server.WithAuthorizer(func(context.Context, *rpc.Request) error { return fmt.Errorf("no") }))
		for range 3 {
			r.send(r.request("1", func(m *conn.Message) { m.ReplyTo = "rabbitrpc.other" }))
		}
		_, err := r.ask(r.request("1"))
		check(t, err, rpc.PermissionDenied, rpc.ExecutedNo)
		if log := r.log.String(); strings.Count(log, "request dropped") != 1 || !strings.Contains(log, "request not permitted") {
			t.Errorf("log:\n%s", log)
		}
	})
}

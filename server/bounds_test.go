package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// evil is in all that a rogue caller sends where the server should not repeat it, least of all in its log.
const evil = "\x1b[31mevil\r\n"

// TestBounds: each bound on a request, as one who writes messages by hand meets it. No handler may run.
func TestBounds(t *testing.T) {
	type edit = func(*conn.Message)
	header := func(name string, v any) edit { return func(m *conn.Message) { m.Headers[name] = v } }
	without := func(name string) edit { return func(m *conn.Message) { delete(m.Headers, name) } }
	for _, c := range []struct {
		name string
		edit edit
		want rpc.Code
	}{
		{"no correlation id", func(m *conn.Message) { m.CorrelationID = "" }, rpc.InvalidArgument},
		{"body too large", func(m *conn.Message) { m.Body = []byte(strings.Repeat("evil", 300)) }, rpc.InvalidArgument},
		{"too many headers", func(m *conn.Message) {
			for i := range 64 {
				m.Headers[fmt.Sprint("evil", i)] = evil
			}
		}, rpc.InvalidArgument},
		{"header too large", header("a", strings.Repeat("evil", 4<<10)), rpc.InvalidArgument},
		{"header bytes too large", header("a", []byte(strings.Repeat("evil", 4<<10))), rpc.InvalidArgument},

		{"no version", without("rpc-version"), rpc.Unimplemented},
		{"version of the future", header("rpc-version", int64(2)), rpc.Unimplemented},
		{"version is text", header("rpc-version", evil), rpc.Unimplemented},
		{"version is a table", header("rpc-version", []any{int64(1)}), rpc.Unimplemented},

		{"timeout 0", header("rpc-timeout-ms", int64(0)), rpc.InvalidArgument},
		{"timeout negative", header("rpc-timeout-ms", int64(-1)), rpc.InvalidArgument},
		{"timeout is text", header("rpc-timeout-ms", evil), rpc.InvalidArgument},
		{"timeout is a fraction", header("rpc-timeout-ms", 0.5), rpc.InvalidArgument},
		{"timeout huge", header("rpc-timeout-ms", int64(1<<62)), rpc.InvalidArgument},

		{"client is a number", header("rpc-client", int64(1)), rpc.InvalidArgument},
		{"client is empty", header("rpc-client", ""), rpc.InvalidArgument},
		{"client too long", header("rpc-client", strings.Repeat("evil", 64)), rpc.InvalidArgument},
		{"attempt is text", header("rpc-attempt", evil), rpc.InvalidArgument},
		{"attempt 0", header("rpc-attempt", int64(0)), rpc.InvalidArgument},
		{"attempt huge", header("rpc-attempt", int64(1<<40)), rpc.InvalidArgument},

		{"content type unknown", func(m *conn.Message) { m.ContentType = "image/evil" }, rpc.Unimplemented},
		{"content type garbage", func(m *conn.Message) { m.ContentType = evil }, rpc.InvalidArgument},
		{"content encoding", func(m *conn.Message) { m.ContentEncoding = "gzip" }, rpc.Unimplemented},
		{"content encoding garbage", func(m *conn.Message) { m.ContentEncoding = evil }, rpc.Unimplemented},

		{"no method", func(m *conn.Message) { m.Type = "" }, rpc.InvalidArgument},
		{"method that nobody serves", func(m *conn.Message) { m.Type = "triple" }, rpc.Unimplemented},
		{"method garbage", func(m *conn.Message) { m.Type = evil }, rpc.InvalidArgument},
		{"method too long", func(m *conn.Message) { m.Type = strings.Repeat("evil", 26) }, rpc.InvalidArgument},

		{"JSON too deep", func(m *conn.Message) { m.Body = []byte(strings.Repeat("[", 1000)) }, rpc.InvalidArgument},
		{"JSON with more behind it", func(m *conn.Message) { m.Body = []byte("1 evil") }, rpc.InvalidArgument},
		{"no JSON", func(m *conn.Message) { m.Body = []byte(evil) }, rpc.InvalidArgument},
		{"no body", func(m *conn.Message) { m.Body = nil }, rpc.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, func(_ context.Context, n int) (int, error) {
					if n != 21 {
						t.Errorf("the handler got %d", n)
					}
					return 2 * n, nil
				}, server.WithMaxBody(1000))
				reply, err := r.ask(r.request("1", c.edit))
				if reply != nil {
					t.Errorf("got %+v", reply)
				}
				check(t, err, c.want, rpc.ExecutedNo)
				if log := r.log.String(); strings.Contains(log, "evil") {
					t.Errorf("logged raw:\n%s", log)
				}
				r.mustAnswer()
				if got := p.Stats(); got.Received != 2 || got.Answered != 1 || got.Rejected+got.Failed != 1 {
					t.Errorf("got %+v, want one answered and one not", got)
				}
			})
		})
	}
}

// A reply must never get into a queue that is not a caller's own.
func TestReplyTo(t *testing.T) {
	const any, plainOnly, never = "service's queue and plain queue", "plain queue only", "nowhere"
	for _, c := range []struct {
		name, replyTo string
		answered      string
	}{
		{"caller's own, named by the broker", "", any},
		{"caller's own, named by itself", "my-replies", plainOnly},
		{"service's queue", "rabbitrpc.math", never},
		{"another service's queue", "rabbitrpc.other", never},
		{"parked queue", "rabbitrpc.math.parked", never},
		{"plain queue", "rpc_queue", never},
		{"a stranger's work", "jobs", never},
		{"an exchange of the broker", "amq.topic", never},
		{"no such queue", "nobody", never},
		{"control characters", evil, never},
		{"none", "none", never},
	} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, plain %v", c.name, plain), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					s, err := r.caller.conn.Session(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					for _, name := range []string{"jobs", "rabbitrpc.other", "rabbitrpc.math.parked"} {
						if _, err := s.DeclareQueue(t.Context(), conn.Queue{Name: name}); err != nil {
							t.Fatal(err)
						}
					}
					r.listen(conn.Queue{Name: "my-replies", Exclusive: true})
					p := r.start(r.conn, twice, server.WithQueue("rpc_queue", "double"))
					m := r.request("21")
					if plain {
						m = r.plain("21")
					}
					switch c.replyTo {
					case "":
					case "none":
						m.ReplyTo = ""
					default:
						m.ReplyTo = c.replyTo
					}
					r.send(m)
					got := r.replies()
					answered := c.answered == any || c.answered == plainOnly && plain
					switch {
					case answered && (len(got) != 1 || string(got[0].Body) != "42"):
						t.Errorf("got %v, want 42", got)
					case !answered && (len(got) != 0 || p.Stats().Dropped != 1 || p.Stats().Received != 1):
						t.Errorf("got %v, %+v, want it dropped", got, p.Stats())
					}
					if log := r.log.String(); strings.Contains(log, "evil") || strings.Contains(log, "\x1b") {
						t.Errorf("logged raw:\n%s", log)
					}
					r.mustAnswer()
				})
			})
		}
	}
}

// Callers who know nothing of this protocol are served under their own rules, and kept within the bounds all the same.
func TestPlainQueue(t *testing.T) {
	type edit = func(*conn.Message)
	for _, c := range []struct {
		name        string
		edit        edit
		want        rpc.Code
		contentType string
	}{
		{"tutorial's client", func(*conn.Message) {}, rpc.OK, "text/plain"},
		{"octets", func(m *conn.Message) { m.ContentType = "application/octet-stream" }, rpc.OK, "text/plain"},
		{"JSON", func(m *conn.Message) { m.ContentType = "application/json" }, rpc.OK, "application/json"},
		{"character set for an encoding", func(m *conn.Message) { m.ContentEncoding = "utf-8" }, rpc.OK, "text/plain"},
		{"method", func(m *conn.Message) { m.Type = "double" }, rpc.OK, "text/plain"},
		{"headers of its own", func(m *conn.Message) { m.Headers = map[string]any{"a": int64(1)} }, rpc.OK, "text/plain"},
		{"method that nobody serves", func(m *conn.Message) { m.Type = "triple" }, rpc.Unimplemented, ""},
		{"method garbage", func(m *conn.Message) { m.Type = evil }, rpc.InvalidArgument, ""},
		{"no number", func(m *conn.Message) { m.Body = []byte(evil) }, rpc.InvalidArgument, ""},
		{"version of the future", func(m *conn.Message) { m.Headers = map[string]any{"rpc-version": int64(2)} }, rpc.Unimplemented, ""},
		{"compressed", func(m *conn.Message) { m.ContentEncoding = "gzip" }, rpc.Unimplemented, ""},
		{"body too large", func(m *conn.Message) { m.Body = make([]byte, 1001) }, rpc.InvalidArgument, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.start(r.conn, twice, server.WithQueue("rpc_queue", "double"), server.WithMaxBody(1000))
				reply, err := r.ask(r.plain("21", c.edit))
				if got := rpc.CodeOf(err); got != c.want {
					t.Errorf("got %v, %v, want %v", reply, err, c.want)
				}
				if err == nil && (string(reply.Body) != "42" || reply.ContentType != c.contentType) {
					t.Errorf("got %+v, want 42 as %s", reply, c.contentType)
				}
				if err != nil && rpc.Executed(err) != rpc.ExecutedNo {
					t.Errorf("got %v, executed %v", err, rpc.Executed(err))
				}
				if log := r.log.String(); strings.Contains(log, "evil") {
					t.Errorf("logged raw:\n%s", log)
				}
				r.mustAnswer()
			})
		})
	}
}

// The plain queue may exist, with whatever arguments.
func TestForeignQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s, err := r.caller.conn.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.DeclareQueue(t.Context(), conn.Queue{Name: "rpc_queue", Args: map[string]any{"x-max-length": int64(3)}}); err != nil {
			t.Fatal(err)
		}
		r.start(r.conn, twice, server.WithQueue("rpc_queue", "double"))
		if reply, err := r.ask(r.plain("21")); err != nil || string(reply.Body) != "42" {
			t.Errorf("got %v, %v", reply, err)
		}
	})
}

// Direct reply-to addresses are answered in sessions of their own. One that was made up costs no reply but its own.
func TestDirectReplyTo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		const prefix = "amq.rabbitmq.reply-to."
		var dialed []conn.Session
		var answered []string
		c := &hooked{
			Connector: r.conn,
			dial:      func(s conn.Session) { dialed = append(dialed, s) },
			publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				switch {
				case m.Key == prefix+"made-up": // RabbitMQ up to 4.2 ends the connection, with an internal error
					dialed[len(dialed)-1].Close(t.Context())
					return nil
				case strings.HasPrefix(m.Key, prefix):
					answered = append(answered, strings.TrimPrefix(m.Key, prefix))
				}
				return p.Publish(m, confirmed)
			},
		}
		p := r.start(c, twice, server.WithQueue("rpc_queue", "double"))
		main, err := r.conn.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ask := func(address string) {
			t.Helper()
			r.send(r.plain("21", func(m *conn.Message) { m.ReplyTo = prefix + address }))
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

// What a rogue message says of itself must not make the server close its own channel with the reply.
func TestLongestProperties(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice)
		m := r.request("1", func(m *conn.Message) {
			m.CorrelationID = strings.Repeat("é", 127)
			m.Type = strings.Repeat("x", 255)
			m.ContentType = strings.Repeat("x", 255)
		})
		r.send(m)
		got := r.reply()
		if _, err := wire.DecodeReply(got); got.CorrelationID != m.CorrelationID || rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

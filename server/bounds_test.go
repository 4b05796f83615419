package server_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
	encoded := func(encoding string, body []byte) edit {
		return func(m *conn.Message) { m.ContentEncoding, m.Body = encoding, body }
	}
	const (
		version  = "unimplemented: header rpc-version must be 1, the only protocol version that this server speaks"
		timeout  = "invalid_argument: header rpc-timeout-ms must be 1 to 86400000 milliseconds"
		attempt  = "invalid_argument: header rpc-attempt must be 1 to 1073741824"
		encoding = "unimplemented: content encoding is not supported: gzip, zstd and identity are"
		tooDeep  = "invalid_argument: JSON is nested deeper than 128"
		tooLong  = "invalid_argument: request body has more than 1000 bytes when it is decompressed"
		noGzip   = "invalid_argument: request body is not valid gzip"
		noZstd   = "invalid_argument: request body is not valid zstd"
	)
	for _, c := range []struct {
		name string
		edit edit
		want string
	}{
		{"no correlation id", func(m *conn.Message) { m.CorrelationID = "" }, "invalid_argument: request has no correlation id"},
		{"body too large", func(m *conn.Message) { m.Body = []byte(strings.Repeat("evil", 300)) },
			"invalid_argument: request body has more than 1000 bytes"},
		{"too many headers", func(m *conn.Message) {
			for i := range 64 {
				m.Headers[fmt.Sprint("evil", i)] = evil
			}
		}, "invalid_argument: request has 66 headers, at most 64 are allowed"},
		{"header too large", header("a", strings.Repeat("evil", 4<<10)), headersHave(16<<10 + 9)},
		{"header bytes too large", header("a", []byte(strings.Repeat("evil", 4<<10))), headersHave(16<<10 + 9)},
		{"header list too large", header("a", []any{strings.Repeat("evil", 4<<10)}), headersHave(16<<10 + 17)},
		{"header list too long", header("a", slices.Repeat([]any{nil}, 7000)), headersHave(8*7001 + 1)},
		{"header name too large", header(strings.Repeat("evil", 63), strings.Repeat("evil", 4<<10)), headersHave(16<<10 + 8 + 252)},

		{"no version", without("rpc-version"), version},
		{"version of the future", header("rpc-version", int64(2)), version},
		{"version is text", header("rpc-version", evil), version},
		{"version is a table", header("rpc-version", []any{int64(1)}), version},

		{"timeout 0", header("rpc-timeout-ms", int64(0)), timeout},
		{"timeout negative", header("rpc-timeout-ms", int64(-1)), timeout},
		{"timeout is text", header("rpc-timeout-ms", evil), timeout},
		{"timeout is a fraction", header("rpc-timeout-ms", 0.5), timeout},
		{"timeout huge", header("rpc-timeout-ms", int64(1<<62)), timeout},

		{"attempt is text", header("rpc-attempt", evil), attempt},
		{"attempt 0", header("rpc-attempt", int64(0)), attempt},
		{"attempt huge", header("rpc-attempt", int64(1<<40)), attempt},

		{"content type unknown", func(m *conn.Message) { m.ContentType = "image/evil" }, "unimplemented: content type is not supported"},
		{"content type garbage", func(m *conn.Message) { m.ContentType = evil }, "invalid_argument: content type is not supported"},
		{"content encoding", encoded("br", []byte("evil")), encoding},
		{"content encodings, one in the other", encoded("gzip, gzip", gzipped(gzipped([]byte("1")))), encoding},
		{"content encoding garbage", encoded(evil, []byte("1")), encoding},
		{"character set for an encoding", encoded("utf-8", []byte("1")), encoding},

		{"gzip bomb", encoded("gzip", gzipped(make([]byte, 100_000))), tooLong},
		{"gzip of JSON too deep", encoded("gzip", gzipped([]byte(strings.Repeat("[", 129)))), tooDeep},
		{"gzip of no JSON", encoded("gzip", gzipped([]byte(evil))), noJSON},
		{"gzip cut short", encoded("gzip", gzipped([]byte("21"))[:20]), noGzip},
		{"gzip with more behind it", encoded("gzip", append(gzipped([]byte("21")), "evil"...)), noGzip},
		{"no gzip", encoded("gzip", []byte(evil)), noGzip},
		{"zstd bomb", encoded("zstd", []byte("\x28\xb5\x2f\xfd\x00\x38\x03\x00\x10\x00")), tooLong},
		{"zstd cut short", encoded("zstd", []byte("\x28\xb5\x2f\xfd\x20\x00\x01\x00")), noZstd},
		{"zstd that promises a bomb", encoded("zstd", []byte("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x10\x01\x00\x00")), tooLong},
		{"zstd with a huge window", encoded("zstd", []byte("\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00")),
			"invalid_argument: request body needs a zstd window of more than 8388608 bytes"},
		{"no zstd", encoded("zstd", []byte(evil)), noZstd},

		{"no method", func(m *conn.Message) { m.Type = "" }, "invalid_argument: method name is empty"},
		{"method that nobody serves", func(m *conn.Message) { m.Type = "triple" }, "unimplemented: service math has no method triple"},
		{"method garbage", func(m *conn.Message) { m.Type = evil },
			`invalid_argument: method name "\x1b[31mevil\r\n" has '\x1b'; letters, digits and any of "-_./" are allowed`},
		{"method too long", func(m *conn.Message) { m.Type = strings.Repeat("evil", 26) },
			"invalid_argument: method name has 104 bytes, at most 100 are allowed"},

		{"JSON too deep", encoded("", []byte(strings.Repeat("[", 1000))), tooDeep},
		{"JSON far too deep", encoded("", []byte(strings.Repeat("[", 500)+strings.Repeat("]", 500))), tooDeep},
		{"JSON with more behind it", encoded("", []byte("1 evil")), "invalid_argument: decode request: malformed JSON at byte 3"},
		{"JSON with JSON behind it", encoded("", []byte("1 2")), "invalid_argument: decode request: malformed JSON at byte 3"},
		{"no JSON", encoded("", []byte(evil)), noJSON},
		{"no body", encoded("", nil), "invalid_argument: decode request: malformed JSON at byte 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, func(_ context.Context, n int) (int, error) {
					if n != 21 {
						t.Errorf("the handler got %d", n)
					}
					return 2 * n, nil
				}, server.WithLimits(server.Limits{Body: 1000}))
				reply, err := r.ask(r.request("1", c.edit))
				if reply != nil || err == nil || err.Error() != c.want || rpc.Executed(err) != rpc.ExecutedNo {
					t.Errorf("got %+v, %v, executed %v, want %s, executed no", reply, err, rpc.Executed(err), c.want)
				}
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

// Of what is too large for a request no session needs to keep more than that.
func TestLargeBodiesAreNotKept(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var got []string
		c := &hooked{Connector: r.conn, consume: func(c conn.Consume) { got = append(got, fmt.Sprint(c.Queue, " ", c.MaxBody)) }}
		r.start(c, twice, server.WithQueue("rpc_queue", "double"), server.WithLimits(server.Limits{Body: 1000}), server.WithoutDiscovery())
		slices.Sort(got)
		if want := []string{"rabbitrpc.math 1000", "rpc_queue 1000"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

const noJSON = "invalid_argument: decode request: malformed JSON at byte 1"

// headersHave is the error for n bytes of headers, and those that the requests in these tests have anyway.
func headersHave(n int) string {
	const own = 41
	return fmt.Sprintf("invalid_argument: request headers have %d bytes, at most 16384 are allowed", own+n)
}

func gzipped(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(body)
	w.Close()
	return b.Bytes()
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

// A request whose reply queue cannot be looked at before the server stops is for another server.
func TestReplyToUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.listen(conn.Queue{Name: "my-replies", Exclusive: true})
		c := &hooked{Connector: r.conn, inspect: func(ctx context.Context, queue string) error {
			if queue != "my-replies" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		p := r.start(c, twice, server.WithQueue("rpc_queue", "double"), server.WithDrain(time.Second), server.WithoutDiscovery())
		r.send(r.plain("21", func(m *conn.Message) { m.ReplyTo = "my-replies" }))
		synctest.Wait()
		p.stop() // with an error: one request was not answered in time
		if got := p.Stats(); got.Received != 1 || got.Dropped != 0 {
			t.Errorf("got %+v, want none dropped", got)
		}
		r.start(r.conn, twice, server.WithQueue("rpc_queue", "double"))
		if got := r.replies(); len(got) != 1 || string(got[0].Body) != "42" {
			t.Errorf("got %v, want 42", got)
		}
	})
}

// WithReplyTo answers queues that are not exclusive, if their whole name is as it says, and never one that takes requests.
func TestWithReplyTo(t *testing.T) {
	for _, c := range []struct {
		pattern, replyTo string
		plain, answered  bool
	}{
		{"jobs", "jobs", true, true},
		{"jobs", "jobs", false, false}, // the queue of the service is for this protocol's own callers
		{"job", "jobs", true, false},
		{"obs", "jobs", true, false},
		{"job|jobs", "jobs", true, true},
		{"j.*?", "jobs", true, true},
		{"^jobs$", "jobs", true, true},
		{"(?m)^jobs$", "jobs", true, true},
		{"(?i)JOBS", "jobs", true, true},
		{"jobs|", "jobs", true, true},
		{"", "jobs", true, false},
		{"[a-z]+", "my-replies", true, true}, // it is exclusive
		{".*", "jobs", true, true},
		{".*", "gone", true, false},
		{".*", "", true, true}, // a queue that the broker has named
		{".*", "rpc_queue", true, false},
		{".*", "rabbitrpc.math", true, false},
		{".*", "rabbitrpc.math.parked", true, false},
		{".*", "rabbitrpc.other", true, false},
		{".*", "amq.topic", true, false},
		{".*", evil, true, false},
		{"(?s).*", "jobs\n", true, false},
	} {
		t.Run(fmt.Sprintf("%s matches %q, plain %v", c.pattern, c.replyTo, c.plain), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s, err := r.caller.conn.Session(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.DeclareQueue(t.Context(), conn.Queue{Name: "rabbitrpc.other"}); err != nil {
					t.Fatal(err)
				}
				r.listen(conn.Queue{Name: "jobs", Durable: true})
				r.listen(conn.Queue{Name: "my-replies", Exclusive: true})
				p := r.start(r.conn, twice, server.WithQueue("rpc_queue", "double"), server.WithReplyTo(regexp.MustCompile(c.pattern)))
				m := r.request("21")
				if c.plain {
					m = r.plain("21")
				}
				if c.replyTo != "" {
					m.ReplyTo = c.replyTo
				}
				r.send(m)
				switch got := r.replies(); {
				case c.answered && (len(got) != 1 || string(got[0].Body) != "42"):
					t.Errorf("got %v, want 42", got)
				case !c.answered && (len(got) != 0 || p.Stats().Received != 1 || p.Stats().Dropped+p.Stats().Unroutable != 1):
					t.Errorf("got %v, %+v, want it dropped", got, p.Stats())
				}
				r.mustAnswer()
			})
		})
	}
	if _, err := server.New(nil, "math", server.WithReplyTo(nil)); err != nil {
		t.Errorf("without a pattern: got %v", err)
	}
	if s, err := server.New(nil, "math", server.WithReplyTo(regexp.MustCompile("."))); err == nil {
		t.Errorf("without a plain queue: got %v", s)
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
		{"identity", func(m *conn.Message) { m.ContentEncoding = "identity" }, rpc.OK, "text/plain"},
		{"compressed", func(m *conn.Message) { m.ContentEncoding, m.Body = "gzip", gzipped(m.Body) }, rpc.OK, "text/plain"},
		{"encoding that nobody knows", func(m *conn.Message) { m.ContentEncoding = evil }, rpc.Unimplemented, ""},
		{"encoding that lies", func(m *conn.Message) { m.ContentEncoding = "zstd" }, rpc.InvalidArgument, ""},
		{"body too large", func(m *conn.Message) { m.Body = make([]byte, 1001) }, rpc.InvalidArgument, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.start(r.conn, twice, server.WithQueue("rpc_queue", "double"), server.WithLimits(server.Limits{Body: 1000}))
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

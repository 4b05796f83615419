package server_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestLimits: each limit holds where it is set, for what is one over it and not for what is at it.
func TestLimits(t *testing.T) {
	body := func(contentType, encoding string, body []byte) func(*conn.Message) {
		return func(m *conn.Message) { m.ContentType, m.ContentEncoding, m.Body = contentType, encoding, body }
	}
	text := func(n int) func(*conn.Message) { return body("text/plain", "", []byte(strings.Repeat("x", n))) }
	packed := func(n int) func(*conn.Message) { return body("text/plain", "gzip", gzipped(noise(n))) }
	nested := func(n int) func(*conn.Message) {
		return body("application/json", "", []byte(strings.Repeat("[", n)+strings.Repeat("]", n)))
	}
	headers := func(n int) func(*conn.Message) {
		return func(m *conn.Message) {
			for i := len(m.Headers); i < n; i++ {
				m.Headers[fmt.Sprint("h", i)] = ""
			}
		}
	}
	headerBytes := func(n int) func(*conn.Message) { // those in these tests have 136 anyway
		return func(m *conn.Message) { m.Headers["h"] = strings.Repeat("x", n-41-9) }
	}
	timeout := func(ms int64) func(*conn.Message) { return func(m *conn.Message) { m.Headers["rpc-timeout-ms"] = ms } }
	none := server.Limits{}
	docs, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		limits   server.Limits
		at, over func(*conn.Message)
		want     string // to what is over
	}{
		{"body", none, text(4 << 20), text(4<<20 + 1), "request body has more than 4194304 bytes"},
		{"body, lower", server.Limits{Body: 10}, text(10), text(11), "request body has more than 10 bytes"},
		{"body, higher", server.Limits{Body: 5 << 20}, text(5 << 20), text(5<<20 + 1), "request body has more than 5242880 bytes"},
		{"compressed body", server.Limits{Body: 5000}, packed(4900), packed(5000), "request body has more than 5000 bytes"},
		{"decompressed body", server.Limits{Body: 5000}, body("text/plain", "gzip", gzipped(append(noise(1000), make([]byte, 4000)...))),
			body("text/plain", "gzip", gzipped(append(noise(1000), make([]byte, 4001)...))), "request body has more than 5000 bytes when it is decompressed"},
		{"ratio", none, body("text/plain", "zstd", zeros(1000)), body("text/plain", "zstd", zeros(1001)),
			"request body grows to more than 100 times its size when it is decompressed"},
		{"ratio, lower", server.Limits{Ratio: 2}, body("text/plain", "zstd", zeros(20)), body("text/plain", "zstd", zeros(21)),
			"request body grows to more than 2 times its size when it is decompressed"},
		{"ratio, higher", server.Limits{Ratio: 10_000}, body("text/plain", "zstd", zeros(100_000)), body("text/plain", "zstd", zeros(100_001)),
			"request body grows to more than 10000 times its size when it is decompressed"},
		{"JSON depth", none, nested(128), nested(129), "JSON is nested deeper than 128"},
		{"JSON depth, lower", server.Limits{JSONDepth: 3}, nested(3), nested(4), "JSON is nested deeper than 3"},
		{"JSON depth, higher", server.Limits{JSONDepth: 10_000}, nested(10_000), nested(10_001), "JSON is nested deeper than 10000"},
		{"headers", none, headers(64), headers(65), "request has 65 headers, at most 64 are allowed"},
		{"headers, lower", server.Limits{Headers: 16}, headers(16), headers(17), "request has 17 headers, at most 16 are allowed"},
		{"headers, higher", server.Limits{Headers: 100}, headers(100), headers(101), "request has 101 headers, at most 100 are allowed"},
		{"header bytes", none, headerBytes(16 << 10), headerBytes(16<<10 + 1), "request headers have 16385 bytes, at most 16384 are allowed"},
		{"header bytes, lower", server.Limits{HeaderBytes: 1 << 10}, headerBytes(1 << 10), headerBytes(1<<10 + 1),
			"request headers have 1025 bytes, at most 1024 are allowed"},
		{"header bytes, higher", server.Limits{HeaderBytes: 20 << 10}, headerBytes(20 << 10), headerBytes(20<<10 + 1),
			"request headers have 20481 bytes, at most 20480 are allowed"},
		{"timeout", none, timeout(86_400_000), timeout(86_400_001), "header rpc-timeout-ms must be 1 to 86400000 milliseconds"},
		{"timeout, lower", server.Limits{Timeout: 10 * time.Second}, timeout(10_000), timeout(10_001), "header rpc-timeout-ms must be 1 to 10000 milliseconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.limits == none && !strings.Contains(string(docs), "`"+c.want+"`") {
				t.Errorf("operations.md does not say %q", c.want)
			}
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.launch(r.conn, func(s *server.Server) {
					server.Handle(s, double, twice)
					s.Handle("any", func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
						return &rpc.Reply{ContentType: "text/plain", Body: []byte(fmt.Sprint(len(r.Body)))}, nil
					})
				}, server.WithLimits(c.limits))
				<-p.Ready()
				untyped := func(m *conn.Message) { m.Type = "any" }
				if reply, err := r.ask(r.request("1", untyped, c.at)); err != nil {
					t.Errorf("at the limit: got %v, %v", reply, err)
				}
				reply, err := r.ask(r.request("1", untyped, c.over))
				if want := "invalid_argument: " + c.want; reply != nil || err == nil || err.Error() != want || rpc.Executed(err) != rpc.ExecutedNo {
					t.Errorf("over the limit: got %v, %v, executed %v, want %s, executed no", reply, err, rpc.Executed(err), want)
				}
				r.mustAnswer()
			})
		})
	}
}

func TestReplyLimit(t *testing.T) {
	for limit, of := range map[int]server.Limits{4 << 20: {}, 10: {Reply: 10}, 5 << 20: {Reply: 5 << 20}} {
		inBubble(t, func(t *testing.T, r *rig) {
			p := r.launch(r.conn, func(s *server.Server) {
				server.Handle(s, double, twice)
				server.Handle(s, rpc.Method[int, string]{Service: "math", Name: "zeros", ContentType: "text/plain"},
					func(_ context.Context, n int) (string, error) { return strings.Repeat("0", n), nil })
			}, server.WithLimits(of))
			<-p.Ready()
			ask := func(n int) (*rpc.Reply, error) {
				return r.ask(r.request(fmt.Sprint(n), func(m *conn.Message) { m.Type, m.ContentType = "zeros", "text/plain" }))
			}
			if reply, err := ask(limit); err != nil || len(reply.Body) != limit {
				t.Errorf("at the limit: got %v", err)
			}
			want := fmt.Sprintf("resource_exhausted: reply has %d bytes, at most %d are allowed", limit+1, limit)
			if _, err := ask(limit + 1); err == nil || err.Error() != want || rpc.Executed(err) != rpc.ExecutedYes {
				t.Errorf("over the limit: got %v, executed %v, want %s, executed yes", err, rpc.Executed(err), want)
			}
			r.mustAnswer()
		})
	}
}

func TestLimitsRefused(t *testing.T) {
	for _, c := range []struct {
		limits server.Limits
		want   string
	}{
		{server.Limits{Body: -1}, "server.Limits.Body must be 1 to 536870912, got -1"},
		{server.Limits{Body: 512<<20 + 1}, "server.Limits.Body must be 1 to 536870912, got 536870913"},
		{server.Limits{Ratio: -1}, "server.Limits.Ratio must be 1 to 100000, got -1"},
		{server.Limits{Ratio: 100_001}, "server.Limits.Ratio must be 1 to 100000, got 100001"},
		{server.Limits{JSONDepth: -1}, "server.Limits.JSONDepth must be 1 to 10000, got -1"},
		{server.Limits{JSONDepth: 10_001}, "server.Limits.JSONDepth must be 1 to 10000, got 10001"},
		{server.Limits{Headers: 15}, "server.Limits.Headers must be 16 to 8192, got 15"},
		{server.Limits{Headers: 8193}, "server.Limits.Headers must be 16 to 8192, got 8193"},
		{server.Limits{HeaderBytes: 1023}, "server.Limits.HeaderBytes must be 1024 to 131072, got 1023"},
		{server.Limits{HeaderBytes: 128<<10 + 1}, "server.Limits.HeaderBytes must be 1024 to 131072, got 131073"},
		{server.Limits{Timeout: 1}, "server.Limits.Timeout must be 1ms to 24h0m0s, got 1ns"},
		{server.Limits{Timeout: 24*time.Hour + 1}, "server.Limits.Timeout must be 1ms to 24h0m0s, got 24h0m0.000000001s"},
		{server.Limits{Reply: -1}, "server.Limits.Reply must be 1 to 536870912, got -1"},
		{server.Limits{Reply: 512<<20 + 1}, "server.Limits.Reply must be 1 to 536870912, got 536870913"},
		{server.Limits{Body: 1, Ratio: 1, JSONDepth: 1, Headers: 16, HeaderBytes: 1024, Timeout: time.Millisecond, Reply: 1}, ""},
		{server.Limits{Body: 512 << 20, Ratio: 100_000, JSONDepth: 10_000, Headers: 8192, HeaderBytes: 128 << 10, Timeout: 24 * time.Hour, Reply: 512 << 20}, ""},
	} {
		s, err := server.New(nil, "math", server.WithLimits(c.limits))
		if (s == nil) != (c.want != "") || err != nil && err.Error() != c.want || err == nil && c.want != "" {
			t.Errorf("%+v: got %v, want %q", c.limits, err, c.want)
		}
	}
}

func ExampleWithLimits() {
	_, err := server.New(nil, "math", server.WithLimits(server.Limits{Body: 64 << 10, JSONDepth: 20_000}))
	fmt.Println(err)
	// Output: server.Limits.JSONDepth must be 1 to 10000, got 20000
}

// What one WithLimits does not set is what the one before has set.
func TestLimitsTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice, server.WithLimits(server.Limits{Body: 5}), server.WithLimits(server.Limits{Headers: 16}))
		if _, err := r.ask(r.request("123456")); err == nil || !strings.Contains(err.Error(), "more than 5 bytes") {
			t.Errorf("got %v, want the body refused", err)
		}
		r.mustAnswer()
	})
}

// A request without a timeout gets none that it could not ask for.
func TestDefaultTimeoutIsLimited(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, server.WithLimits(server.Limits{Timeout: time.Second}))
		m := r.request("1")
		delete(m.Headers, "rpc-timeout-ms")
		m.Expiration = ""
		r.send(m)
		time.Sleep(time.Second)
		_, err := wire.DecodeReply(r.reply())
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedYes)
	})
}

// Attempts of one call are one call, whether they are compressed or not.
func TestCompressedDuplicate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var runs counter
		r.start(r.conn, slow(0, &runs))
		first := r.request("21")
		for _, edit := range []func(*conn.Message){
			func(*conn.Message) {},
			func(m *conn.Message) { m.ContentEncoding = "identity" },
			func(m *conn.Message) { m.ContentEncoding, m.Body = "gzip", gzipped(m.Body) },
			func(m *conn.Message) {
				m.ContentEncoding, m.Body = "zstd", []byte("\x28\xb5\x2f\xfd\x20\x02\x11\x00\x0021")
			},
		} {
			m := r.request("21", edit)
			m.CorrelationID = first.CorrelationID
			if reply, err := r.ask(m); err != nil || string(reply.Body) != "42" {
				t.Errorf("encoding %q: got %v, %v, want 42", m.ContentEncoding, reply, err)
			}
		}
		if runs.ran() != 1 {
			t.Errorf("%d runs, want 1", runs.ran())
		}
	})
}

// noise is what cannot be compressed.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// zeros is a frame of zstd: 10 bytes that stand for n, up to 128 KiB.
func zeros(n int) []byte {
	return append([]byte("\x28\xb5\x2f\xfd\x00\x38"), byte(n<<3|1<<1|1), byte(n>>5), byte(n>>13), 0)
}

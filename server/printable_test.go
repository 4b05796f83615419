package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A rawHandler writes what it is told to, as it is: a handler for people does no more.
type rawHandler struct{ *logged }

func (h rawHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h rawHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h rawHandler) WithGroup(string) slog.Handler            { return h }

func (h rawHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" {
			line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	fmt.Fprintln(h, line)
	return nil
}

// TestLogIsPrintable: whoever sends what, and whatever handler writes it, the log has no control characters and no line
// that is a stranger's.
func TestLogIsPrintable(t *testing.T) {
	raw := func(l *logged) slog.Handler { return rawHandler{l} }
	for _, c := range []struct {
		name    string
		handler func(*logged) slog.Handler
		evil    string
	}{
		{"control characters", raw, "\x1b[31m\r\nevil=line\x00"},
		{"writing from right to left", raw, "evil\u202e"},
		{"no UTF-8", raw, "evil\xff\x9b"},
		{"control characters as text", func(l *logged) slog.Handler { return slog.NewTextHandler(l, nil) }, "\x1b[31m\r\nevil=line\x00"},
		{"control characters as JSON", func(l *logged) slog.Handler { return slog.NewJSONHandler(l, nil) }, "\x1b[31m\r\nevil=line\x00"},
	} {
		evil := c.evil
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				handlers := map[string]rpc.Handler{
					"error": func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) { return nil, errors.New(string(r.Body)) },
					"errors": func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
						return nil, errors.Join(errors.New("a"), errors.New(evil))
					},
					"panic":   func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) { panic(string(r.Body)) },
					"panic2":  func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) { panic(r.Header) },
					"nothing": func(context.Context, *rpc.Request) (*rpc.Reply, error) { return nil, nil },
					"unsent": func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
						return &rpc.Reply{ContentType: strings.Repeat(evil, 30)}, nil
					},
					"late": func(context.Context, *rpc.Request) (*rpc.Reply, error) {
						time.Sleep(time.Minute)
						return &rpc.Reply{}, nil
					},
				}
				p := r.launch(r.conn, func(s *server.Server) {
					server.Handle(s, double, twice)
					for method, h := range handlers {
						s.Handle(method, h)
					}
				}, server.WithLogger(slog.New(c.handler(r.log))), server.WithQueue("rpc_queue", "error"))
				<-p.Ready()
				for method := range handlers {
					for n, edit := range []func(*conn.Message){
						func(m *conn.Message) {},
						func(m *conn.Message) { m.AppID, m.Headers[evil] = evil, evil },
						func(m *conn.Message) { m.Type = evil },
						func(m *conn.Message) { m.ContentType = evil },
						func(m *conn.Message) { m.ContentEncoding = evil },
						func(m *conn.Message) { m.AppID, m.MessageID, m.Expiration = evil, evil, "" },
						func(m *conn.Message) { m.ReplyTo = evil },
					} {
						id := fmt.Sprint(evil, method, n)
						r.send(r.request(evil, func(m *conn.Message) {
							m.Type, m.ContentType, m.CorrelationID, m.Headers["x"] = method, "text/plain", id, evil
						}, edit))
						r.send(r.plain(evil, func(m *conn.Message) { m.Type, m.CorrelationID, m.Headers = method, id, map[string]any{} }, edit))
					}
				}
				time.Sleep(2 * time.Minute)
				r.replies()
				r.mustAnswer()
				p.stop()
				log := r.log.String()
				for line := range strings.Lines(log) {
					line = strings.TrimSuffix(line, "\n")
					if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.HasPrefix(line, "evil") {
						t.Errorf("line %q", line)
					}
				}
				if n := strings.Count(log, "evil"); n < 10 {
					t.Errorf("%d times evil in the log, which shows nothing:\n%s", n, log)
				}
			})
		})
	}
}

// hostile is an error that logs as a group.
type hostile struct{ s string }

func (h hostile) Error() string { return h.s }
func (h hostile) LogValue() slog.Value {
	return slog.GroupValue(slog.String("why", h.s))
}

// raw writes values as they are.
type raw struct{ out *strings.Builder }

func (h raw) Enabled(context.Context, slog.Level) bool { return true }
func (h raw) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h raw) WithGroup(string) slog.Handler            { return h }
func (h raw) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(h.out, "%s=%s ", a.Key, a.Value); return true })
	return nil
}

func TestGroupsAreEscaped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var b strings.Builder
		r.start(r.conn, func(context.Context, int) (int, error) { return 0, hostile{"\x1b[2J"} }, server.WithLogger(slog.New(raw{&b})))
		r.ask(r.request("1"))
		if strings.Contains(b.String(), "\x1b") {
			t.Errorf("%q", b.String())
		}
	})
}

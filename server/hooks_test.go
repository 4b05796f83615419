package server_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestRequestEnded: what a hook is told of each request that is answered.
func TestRequestEnded(t *testing.T) {
	var mu sync.Mutex
	var told []server.RequestEnded
	hook := server.WithHooks(server.Hooks{RequestEnded: func(_ context.Context, e server.RequestEnded) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e)
	}})
	none := rpc.OK
	for _, tt := range []struct {
		name string
		edit func(*conn.Message)
		code rpc.Code
		want server.RequestEnded
	}{
		{"reply", nil, none, server.RequestEnded{Method: "double", Ran: true, Handled: time.Second}},
		{"duplicate", func(m *conn.Message) { m.CorrelationID = "id-1" }, none, server.RequestEnded{Method: "double", Replayed: true}},
		{"error of the handler", func(m *conn.Message) { m.Body = []byte("-1") }, rpc.Unknown, server.RequestEnded{Method: "double", Ran: true, Handled: time.Second}},
		{"no method", func(m *conn.Message) { m.Type = "none" }, rpc.Unimplemented, server.RequestEnded{}},
		{"out of bounds", func(m *conn.Message) { m.Headers["rpc-timeout-ms"] = int64(-1) }, rpc.InvalidArgument, server.RequestEnded{Method: "double"}},
		{"not permitted", func(m *conn.Message) { m.Headers["deny"] = "x" }, rpc.PermissionDenied, server.RequestEnded{Method: "double"}},
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.start(r.conn, func(_ context.Context, n int) (int, error) {
				time.Sleep(time.Second)
				if n < 0 {
					return 0, errors.New("negative")
				}
				return 2 * n, nil
			}, hook, server.WithAuthorizer(func(_ context.Context, r *rpc.Request) error {
				if r.Header["deny"] != "" {
					return errors.New("denied")
				}
				return nil
			}))
			if tt.want.Replayed {
				r.send(r.request("1"))
				time.Sleep(2 * time.Second)
				r.reply()
			}
			told = nil
			m := r.request("1", func(m *conn.Message) {
				if tt.edit != nil {
					tt.edit(m)
				}
			})
			r.send(m)
			time.Sleep(2 * time.Second)
			r.reply()
			if len(told) != 1 {
				t.Fatalf("%s: told of %d requests, want 1", tt.name, len(told))
			}
			got := told[0]
			if got.Request.ID != m.CorrelationID || (got.Err == nil) != (tt.code == rpc.OK) || got.Err != nil && got.Err.Code != tt.code {
				t.Errorf("%s: got %s with %v, want %s with %v", tt.name, got.Request.ID, got.Err, m.CorrelationID, tt.code)
			}
			if got.Request, got.Err = nil, nil; got != tt.want {
				t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
			}
		})
	}
}

// A request that finds all workers at other requests waits, and that is told.
func TestWaited(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		waited := make(chan time.Duration, 2)
		var runs counter
		r.start(r.conn, slow(time.Second, &runs), server.WithWorkers(1), server.WithQueue("rpc_queue", "double"),
			server.WithHooks(server.Hooks{RequestEnded: func(_ context.Context, e server.RequestEnded) { waited <- e.Waited }}))
		r.send(r.request("1"))
		r.send(r.plain("2")) // of another queue, with a prefetch of its own
		if first, second := <-waited, <-waited; first != 0 || second != time.Second {
			t.Errorf("waited %v and %v, want 0s and 1s", first, second)
		}
		synctest.Wait()
		r.replies()
	})
}

func TestHooksOfSeveral(t *testing.T) {
	hooks := func(who string, told *string) server.Option {
		return server.WithHooks(server.Hooks{RequestEnded: func(context.Context, server.RequestEnded) { *told += who }})
	}
	for _, tt := range []struct {
		name, want string
		opts       func(told *string) []server.Option
	}{
		{"two", "ab", func(told *string) []server.Option { return []server.Option{hooks("a", told), hooks("b", told)} }},
		{"one, then none", "a", func(told *string) []server.Option {
			return []server.Option{hooks("a", told), server.WithHooks(server.Hooks{})}
		}},
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			var told string
			r.start(r.conn, twice, tt.opts(&told)...)
			r.mustAnswer()
			if told != tt.want {
				t.Errorf("%s: told %q, want %q", tt.name, told, tt.want)
			}
		})
	}
}

// records keeps what is logged with the request that its context carries.
type records struct {
	mu   sync.Mutex        // guards said
	said map[string]string // message -> ID of the call in its context, if it is in the attributes too
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }

func (r *records) Handle(ctx context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := ""
	record.Attrs(func(a slog.Attr) bool {
		if request := rpc.RequestOf(ctx); a.Key == "call" && request != nil && a.Value.String() == request.ID {
			id = request.ID
		}
		return true
	})
	r.said[record.Message] = id
	return nil
}

// TestLinesNameTheirCall: each line about a call has its ID, and its request in the context, for the trace.
func TestLinesNameTheirCall(t *testing.T) {
	for _, tt := range []struct {
		line string
		edit func(*conn.Message)
	}{
		{"handler failed", func(m *conn.Message) { m.Body = []byte("1") }},
		{"handler panicked", func(m *conn.Message) { m.Body = []byte("2") }},
		{"request is overdue, and keeps its worker", func(m *conn.Message) { m.Body = []byte("3") }},
		{"interceptor failed", func(m *conn.Message) { m.Headers["fail"] = "x" }},
		{"request not permitted", func(m *conn.Message) { m.Headers["deny"] = "x" }},
		{"request dropped: its reply-to may not be answered", func(m *conn.Message) { m.ReplyTo = "rabbitrpc.math" }},
	} {
		t.Run(tt.line, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				log := &records{said: make(map[string]string)}
				r.start(r.conn, func(_ context.Context, n int) (int, error) {
					switch n {
					case 1:
						return 0, errors.New("on order")
					case 2:
						panic("on order")
					case 3:
						time.Sleep(20 * time.Second)
					}
					return n, nil
				}, server.WithLogger(slog.New(log)), server.WithAuthorizer(func(_ context.Context, r *rpc.Request) error {
					if r.Header["deny"] != "" {
						return errors.New("denied")
					}
					return nil
				}), server.WithInterceptors(func(next rpc.Handler) rpc.Handler {
					return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
						if r.Header["fail"] != "" {
							return nil, errors.New("on order")
						}
						return next(ctx, r)
					}
				}))
				m := r.request("0", tt.edit)
				r.send(m)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				log.mu.Lock()
				defer log.mu.Unlock()
				if got, said := log.said[tt.line]; !said || got != m.CorrelationID {
					t.Errorf("got the call %q, want %q; said: %v", got, m.CorrelationID, log.said)
				}
			})
		})
	}
}

// A hook that panics costs neither the answer nor the server.
func TestHookPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		told := 0
		p := r.start(r.conn, twice, server.WithHooks(server.Hooks{RequestEnded: func(context.Context, server.RequestEnded) { panic("hook") }}),
			server.WithHooks(server.Hooks{RequestEnded: func(context.Context, server.RequestEnded) { told++ }}))
		r.mustAnswer()
		_, err := r.ask(r.request("x"))
		check(t, err, rpc.InvalidArgument, rpc.ExecutedNo)
		if s := p.Stats(); s.Panics != 2 || told != 2 {
			t.Errorf("%+v, and another hook was told %d times, want 2", s, told)
		}
	})
}

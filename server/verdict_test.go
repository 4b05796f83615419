package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestVerdict: what a handler does, and what its caller reads.
func TestVerdict(t *testing.T) {
	ok := &rpc.Reply{ContentType: "text/plain", Body: []byte("fine")}
	remote := &rpc.Error{Code: rpc.NotFound, Message: "secret", Executed: rpc.ExecutedNo, Remote: true}
	unanswered := rpc.Errorf(rpc.Unavailable, "secret").WithCause(errors.Join(rpc.ErrNoAnswer, errors.New("why"))).WithExecuted(rpc.ExecutedNo)
	hidden := rpc.Error{Code: rpc.Unknown, Message: "handler failed", Executed: rpc.ExecutedYes}
	var none *rpc.Error
	for _, c := range []struct {
		name  string
		reply *rpc.Reply
		err   error
		panic any
		want  rpc.Error // the reply ok if zero
		logs  string    // is in the log, and not in the reply
	}{
		{name: "reply", reply: ok},
		{
			name: "error",
			err:  rpc.Errorf(rpc.Aborted, "lost").WithDetails([]int{1}).WithRetryAfter(time.Second),
			want: rpc.Error{Code: rpc.Aborted, Message: "lost", Details: json.RawMessage("[1]"), RetryAfter: time.Second, Executed: rpc.ExecutedYes},
		},
		{
			name: "error that promises it had no effect", err: rpc.Errorf(rpc.NotFound, "x").WithExecuted(rpc.ExecutedNo),
			want: rpc.Error{Code: rpc.NotFound, Message: "x", Executed: rpc.ExecutedNo},
		},
		{
			name: "error of a handler in doubt", err: rpc.Errorf(rpc.Unavailable, "x").WithCause(fmt.Errorf("secret: %w", rpc.ErrInDoubt)),
			want: rpc.Error{Code: rpc.Unavailable, Message: "x", Executed: rpc.ExecutedUnknown},
		},
		{
			name: "error in a wrapper", err: fmt.Errorf("secret: %w", rpc.Errorf(rpc.NotFound, "x")),
			want: rpc.Error{Code: rpc.NotFound, Message: "x", Executed: rpc.ExecutedYes},
		},
		{
			name: "error with a cause", err: rpc.Errorf(rpc.NotFound, "x").WithCause(errors.New("secret")),
			want: rpc.Error{Code: rpc.NotFound, Message: "x", Executed: rpc.ExecutedYes},
		},
		{name: "foreign error", err: errors.New("secret"), want: hidden, logs: "secret"},
		{name: "nil pointer for an error", err: none, want: hidden, logs: "handler failed"},
		{name: "reply and error", reply: ok, err: errors.New("secret"), want: hidden, logs: "secret"},
		{
			name: "neither reply nor error",
			want: rpc.Error{Code: rpc.Internal, Message: "handler returned neither reply nor error", Executed: rpc.ExecutedYes},
		},
		{
			name: "panic", panic: "secret",
			want: rpc.Error{Code: rpc.Internal, Message: "handler panicked", Executed: rpc.ExecutedYes}, logs: "verdict_test.go",
		},
		{
			name: "panic with an error", panic: rpc.Errorf(rpc.NotFound, "secret"),
			want: rpc.Error{Code: rpc.Internal, Message: "handler panicked", Executed: rpc.ExecutedYes}, logs: "secret",
		},
		{name: "error of another server", err: remote, want: hidden, logs: "secret"},
		{name: "error of another server in a wrapper", err: fmt.Errorf("call x: %w", remote), want: hidden, logs: "secret"},
		{
			name: "own verdict on an error of another server", err: rpc.Errorf(rpc.DataLoss, "x").WithCause(remote),
			want: rpc.Error{Code: rpc.DataLoss, Message: "x", Executed: rpc.ExecutedYes},
		},
		{name: "no answer of another server", err: unanswered, want: hidden, logs: "secret"},
		{name: "no answer of another server in a wrapper", err: fmt.Errorf("call x: %w", unanswered), want: hidden, logs: "secret"},
		{
			name: "own verdict on having no answer", err: rpc.Errorf(rpc.DataLoss, "x").WithCause(fmt.Errorf("call x: %w", unanswered)),
			want: rpc.Error{Code: rpc.DataLoss, Message: "x", Executed: rpc.ExecutedYes},
		},
		{name: "deadline of something else", err: context.DeadlineExceeded, want: hidden, logs: "deadline"},
		{
			name: "details too large", err: rpc.Errorf(rpc.Aborted, "x").WithDetails(strings.Repeat("y", 8<<10)),
			want: rpc.Error{Code: rpc.Aborted, Message: "x", Executed: rpc.ExecutedYes},
		},
		{
			name: "message too long", err: rpc.Errorf(rpc.Aborted, "%s", strings.Repeat("y", 2000)),
			want: rpc.Error{Code: rpc.Aborted, Message: strings.Repeat("y", 1024), Executed: rpc.ExecutedYes},
		},
		{
			name: "message not UTF-8", err: rpc.Errorf(rpc.Aborted, "a\xffb"),
			want: rpc.Error{Code: rpc.Aborted, Message: "a�b", Executed: rpc.ExecutedYes},
		},
		{name: "no code", err: &rpc.Error{Message: "x"}, want: rpc.Error{Code: rpc.Unknown, Message: "x", Executed: rpc.ExecutedYes}},
		{name: "largest reply", reply: &rpc.Reply{Body: make([]byte, 100)}},
		{
			name: "reply too large", reply: &rpc.Reply{Body: make([]byte, 101)},
			want: rpc.Error{Code: rpc.ResourceExhausted, Message: "reply has 101 bytes, at most 100 are allowed", Executed: rpc.ExecutedYes},
		},
		{
			name: "reply that cannot be sent", reply: &rpc.Reply{ContentType: strings.Repeat("x", 256)},
			want: rpc.Error{Code: rpc.Internal, Message: "reply cannot be sent", Executed: rpc.ExecutedYes}, logs: "content type has 256 bytes",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.launch(r.conn, func(s *server.Server) {
					server.Handle(s, double, twice)
					s.Handle("x", func(context.Context, *rpc.Request) (*rpc.Reply, error) {
						if c.panic != nil {
							panic(c.panic)
						}
						return c.reply, c.err
					})
				}, server.WithLimits(server.Limits{Reply: 100}))
				<-p.Ready()
				r.send(r.request("1", func(m *conn.Message) { m.Type = "x" }))
				m := r.reply()
				reply, err := wire.DecodeReply(m)
				switch {
				case c.want.Code != rpc.OK:
					c.want.Remote = true
					if reply != nil || !reflect.DeepEqual(err, &c.want) {
						t.Errorf("got %v, %+v, want %+v", reply, err, &c.want)
					}
					if string(m.Body) != c.want.Message || m.ContentType != "text/plain" {
						t.Errorf("body is %q, %s, want the message", m.Body, m.ContentType)
					}
				case err != nil || string(reply.Body) != string(c.reply.Body) || reply.ContentType != c.reply.ContentType || reply.Server != "host/1":
					t.Errorf("got %+v, %v, want %+v of host/1", reply, err, c.reply)
				}
				if log := r.log.String(); !strings.Contains(log, c.logs) {
					t.Errorf("log without %q:\n%s", c.logs, log)
				}
				if strings.Contains(fmt.Sprint(m), "secret") {
					t.Errorf("the reply tells: %+v", m)
				}
				if got := p.Stats().Panics == 1; got != (c.panic != nil) {
					t.Errorf("counted a panic: %v", got)
				}
				r.mustAnswer()
			})
		})
	}
}

func TestHandlerOutOfTime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			return 0, fmt.Errorf("secret: %w", ctx.Err())
		})
		start := time.Now()
		r.send(r.request("1"))
		time.Sleep(10 * time.Second)
		_, err := wire.DecodeReply(r.reply())
		check(t, err, rpc.DeadlineExceeded, rpc.ExecutedYes)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the reply tells: %v", err)
		}
		took(t, start, 10*time.Second)
	})
}

// The errors of a real client, as a handler gets them that calls others.
func TestErrorOfAnotherService(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(ctx context.Context, c *client.Client) error
	}{
		{"error of its handler", func(ctx context.Context, c *client.Client) error {
			_, err := client.Call(ctx, c, rpc.Method[int, int]{Service: "other", Name: "fails"}, 1)
			return err
		}},
		{"no server", func(ctx context.Context, c *client.Client) error {
			_, err := client.Call(ctx, c, rpc.Method[int, int]{Service: "nobody", Name: "x"}, 1)
			return err
		}},
		{"unreadable reply", func(ctx context.Context, c *client.Client) error {
			_, err := client.Call(ctx, c, rpc.Method[int, int]{Service: "other", Name: "text"}, 1)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				other, err := server.New(r.broker.Connector("other"), "other", server.WithLogger(slog.New(slog.DiscardHandler)))
				if err != nil {
					t.Fatal(err)
				}
				other.Handle("fails", func(context.Context, *rpc.Request) (*rpc.Reply, error) {
					return nil, rpc.Errorf(rpc.PermissionDenied, "not you").WithExecuted(rpc.ExecutedNo)
				})
				other.Handle("text", func(context.Context, *rpc.Request) (*rpc.Reply, error) {
					return &rpc.Reply{ContentType: "image/png"}, nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go other.Run(ctx)
				<-other.Ready()
				caller, err := client.New(r.broker.Connector("client"))
				if err != nil {
					t.Fatal(err)
				}
				defer caller.Close(ctx)
				r.start(r.conn, func(ctx context.Context, _ int) (int, error) { return 0, c.call(ctx, caller) })
				_, err = r.ask(r.request("1"))
				check(t, err, rpc.Unknown, rpc.ExecutedYes)
				if err.Error() != "unknown: handler failed" {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// Interceptors are the user's code too: they may answer, and they may fail, but not take the server with them.
func TestInterceptor(t *testing.T) {
	remote := &rpc.Error{Code: rpc.NotFound, Message: "secret", Executed: rpc.ExecutedYes, Remote: true}
	var none *rpc.Error
	answer := func(reply *rpc.Reply, err error) rpc.Interceptor {
		return func(rpc.Handler) rpc.Handler {
			return func(context.Context, *rpc.Request) (*rpc.Reply, error) { return reply, err }
		}
	}
	for _, c := range []struct {
		name      string
		intercept rpc.Interceptor
		want      string
		executed  rpc.Execution
	}{
		{"passes on", func(next rpc.Handler) rpc.Handler { return next }, "", rpc.ExecutedYes},
		{"answers", answer(&rpc.Reply{Body: []byte("42")}, nil), "", rpc.ExecutedYes},
		{"denies", answer(nil, rpc.Errorf(rpc.PermissionDenied, "not you").WithExecuted(rpc.ExecutedNo)), "permission_denied: not you", rpc.ExecutedNo},
		{"fails", answer(nil, errors.New("secret")), "unknown: interceptor failed", rpc.ExecutedUnknown},
		{"nil pointer for an error", answer(nil, none), "unknown: interceptor failed", rpc.ExecutedUnknown},
		{"error of another server", answer(nil, remote), "unknown: interceptor failed", rpc.ExecutedUnknown},
		{"no answer of another server", answer(nil, rpc.Errorf(rpc.Unavailable, "secret").WithCause(rpc.ErrNoAnswer)),
			"unknown: interceptor failed", rpc.ExecutedUnknown},
		{"neither reply nor error", answer(nil, nil), "internal: interceptor returned neither reply nor error", rpc.ExecutedUnknown},
		{"panics", func(rpc.Handler) rpc.Handler {
			return func(context.Context, *rpc.Request) (*rpc.Reply, error) { panic("secret") }
		}, "internal: interceptor panicked", rpc.ExecutedUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, twice, server.WithInterceptors(c.intercept))
				for range 2 {
					reply, err := r.ask(r.request("21"))
					switch {
					case c.want == "" && (err != nil || string(reply.Body) != "42"):
						t.Errorf("got %v, %v, want 42", reply, err)
					case c.want != "" && (err == nil || err.Error() != c.want || rpc.Executed(err) != c.executed):
						t.Errorf("got %v, executed %v, want %s, executed %v", err, rpc.Executed(err), c.want, c.executed)
					}
				}
				if p.Stats().Running != 0 {
					t.Errorf("got %+v, want none running", p.Stats())
				}
			})
		})
	}
}

func TestInterceptorsAreInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var trace []string
		step := func(name string) rpc.Interceptor {
			return func(next rpc.Handler) rpc.Handler {
				return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
					trace = append(trace, name)
					return next(ctx, r)
				}
			}
		}
		r.start(r.conn, twice, server.WithInterceptors(step("first"), step("second")), server.WithInterceptors(step("third")))
		m := r.request("21")
		r.ask(m)
		r.ask(m) // a duplicate, which they see too
		if got := strings.Join(trace, " "); got != "first second third first second third" {
			t.Errorf("got %s", got)
		}
	})
}

package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/gateway"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// world is a gateway with a real client, a broker in memory and a server of the service a, in virtual time.
type world struct {
	broker  *conntest.Broker
	gateway *gateway.Gateway
	handle  rpc.Handler // of a.b
}

func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{broker: conntest.NewBroker()}
		quiet := slog.New(slog.DiscardHandler)
		s, err := server.New(w.broker.Connector("server"), "a", server.WithLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		s.Handle("b", func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) { return w.handle(ctx, r) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		<-s.Ready()
		c, err := client.New(w.broker.Connector("client"), client.WithName("gateway"))
		if err != nil {
			t.Fatal(err)
		}
		w.gateway = newGateway(t, c.Do, func(c *config.Gateway) { c.Timeout, c.MaxTimeout = 7*time.Second, time.Minute })
		f(t, w)
		c.Close(ctx)
		cancel()
		<-done
		w.broker.Close()
	})
}

// TestTimeouts: what a request says, and when the handler's time is over.
func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		want    time.Duration // 0 if the request is refused
	}{
		{"none", nil, 7 * time.Second},
		{"milliseconds", []string{"Grpc-Timeout", "1500m"}, 1500 * time.Millisecond},
		{"seconds", []string{"Grpc-Timeout", "3S"}, 3 * time.Second},
		{"hours", []string{"Grpc-Timeout", "1H"}, time.Minute},
		{"as long as can be said", []string{"Grpc-Timeout", "99999999H"}, time.Minute},
		{"microseconds", []string{"Grpc-Timeout", "2500000u"}, 2500 * time.Millisecond},
		{"plain seconds", []string{"Request-Timeout", "2"}, 2 * time.Second},
		{"decimals", []string{"Request-Timeout", "0.25"}, 250 * time.Millisecond},
		{"as long as can be said in seconds", []string{"Request-Timeout", "1e300"}, time.Minute},
		{"both: the shorter", []string{"Request-Timeout", "2", "Grpc-Timeout", "1S"}, time.Second},
		{"no unit", []string{"Grpc-Timeout", "1500"}, 0},
		{"nine digits", []string{"Grpc-Timeout", "100000000n"}, 0},
		{"unit only", []string{"Grpc-Timeout", "S"}, 0},
		{"negative", []string{"Grpc-Timeout", "-1S"}, 0},
		{"no number", []string{"Request-Timeout", "soon"}, 0},
		{"zero", []string{"Request-Timeout", "0"}, 0},
		{"negative seconds", []string{"Request-Timeout", "-1"}, 0},
		{"endless", []string{"Request-Timeout", "Inf"}, 0},
		{"not a number", []string{"Request-Timeout", "NaN"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var left time.Duration
				w.handle = func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
					deadline, _ := ctx.Deadline()
					left = time.Until(deadline)
					return &rpc.Reply{}, nil
				}
				resp := serve(w.gateway, post("/call/a/b", "1", c.headers...))
				switch {
				case c.want == 0:
					if p := problemOf(t, resp); p.Status != 400 || p.Code != "invalid_argument" {
						t.Errorf("got %+v", p)
					}
				case resp.StatusCode != 200 || left > c.want || left < c.want-10*time.Millisecond:
					t.Errorf("status %d, timeout %v, want %v", resp.StatusCode, left, c.want)
				}
			})
		})
	}
}

func TestShortestTimeout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.handle = func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) { <-ctx.Done(); return nil, ctx.Err() }
		p := problemOf(t, serve(w.gateway, post("/call/a/b", "", "Grpc-Timeout", "1n")))
		if p.Status != 504 || p.Code != "deadline_exceeded" {
			t.Errorf("got %+v, want 504", p)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var runs atomic.Int32
		w.handle = func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
			return &rpc.Reply{ContentType: "text/plain", Body: fmt.Append(nil, r.ID, " ", r.Client, " ", runs.Add(1))}, nil
		}
		for i, key := range []string{"k1", `"k1"`, "k1", `k"2`, `"k\"2"`} {
			resp := serve(w.gateway, post("/call/a/b", "1", "Idempotency-Key", key))
			body, _ := io.ReadAll(resp.Body)
			want, replayed := "k1 gateway 1", i > 0
			if i > 2 {
				want, replayed = `k"2 gateway 2`, i > 3
			}
			if string(body) != want || (resp.Header.Get("Rabbitrpc-Replayed") == "true") != replayed {
				t.Errorf("%s: got %q, %v, want %q", key, body, resp.Header, want)
			}
		}
		twice := post("/call/a/b", "1", "Idempotency-Key", "k1")
		twice.Header.Add("Idempotency-Key", "k4")
		if p := problemOf(t, serve(w.gateway, twice)); p.Status != 400 || p.Executed != "no" {
			t.Errorf("two keys: got %+v", p)
		}
		if p := problemOf(t, serve(w.gateway, post("/call/a/b", "2", "Idempotency-Key", "k1"))); p.Status != 400 || p.Executed != "no" {
			t.Errorf("another payload: got %+v", p)
		}
	})
}

func TestSwitches(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var got rpc.Request
		w.handle = func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) { got = *r; return &rpc.Reply{}, nil }
		serve(w.gateway, post("/call/a/b", "", "Rabbitrpc-At-Most-Once", "true", "traceparent", "00-1-2-01", "Tracestate", "a=1", "X-Other", "x"))
		if !got.AtMostOnce || len(got.Header) != 2 || got.Header["traceparent"] != "00-1-2-01" || got.Header["tracestate"] != "a=1" {
			t.Errorf("got %+v", got)
		}
		states := post("/call/a/b", "", "Tracestate", "a=1")
		states.Header.Add("Tracestate", "b=2")
		if serve(w.gateway, states); got.Header["tracestate"] != "a=1,b=2" {
			t.Errorf("got %+v, want what both headers say", got.Header)
		}
		serve(w.gateway, post("/call/a/b", "", "Rabbitrpc-At-Most-Once", "false"))
		if got.AtMostOnce {
			t.Error("at most once, which was not asked for")
		}
		if p := problemOf(t, serve(w.gateway, post("/call/a/b", "", "Rabbitrpc-Durable", "maybe"))); p.Status != 400 {
			t.Errorf("got %+v", p)
		}
		start := time.Now()
		if p := problemOf(t, serve(w.gateway, post("/call/nobody/b", ""))); p.Status != 503 || !p.Retryable || p.Executed != "no" || time.Since(start) > time.Second {
			t.Errorf("nobody serves it: got %+v after %v", p, time.Since(start))
		}
		start = time.Now()
		p := problemOf(t, serve(w.gateway, post("/call/nobody/b", "", "Rabbitrpc-Wait", "true", "Request-Timeout", "3")))
		if took := time.Since(start); took < 2*time.Second || took > 3*time.Second || p.Executed != "no" {
			t.Errorf("nobody serves it, and waiting was asked for: got %+v after %v", p, took)
		}
		if p := problemOf(t, serve(w.gateway, post("/call/a%20b/c", ""))); p.Status != http.StatusBadRequest {
			t.Errorf("no name of a service: got %+v", p)
		}
	})
}

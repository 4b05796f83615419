package tracing_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/tracing"
)

// A rig is a client and a server of the service math, both traced, in a bubble of virtual time. The method do does what its
// request says.
type rig struct {
	conn   *conntest.Connector // of the client
	client *client.Client
	spans  *tracetest.SpanRecorder
	seen   func() rpc.Header // of the last request
}

func inBubble(t *testing.T, f func(t *testing.T, r *rig), sampler sdk.Sampler, opts ...tracing.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		broker := conntest.NewBroker()
		defer broker.Close()
		r := &rig{conn: broker.Connector("client"), spans: tracetest.NewSpanRecorder()}
		provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(r.spans), sdk.WithSampler(sampler))
		opts := append([]tracing.Option{tracing.WithTracerProvider(provider)}, opts...)
		s, err := server.New(broker.Connector("server"), "math", server.WithLogger(slog.New(slog.DiscardHandler)),
			server.WithInterceptors(tracing.Server(opts...)))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var header rpc.Header
		r.seen = func() rpc.Header { mu.Lock(); defer mu.Unlock(); return header }
		s.Handle("do", func(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
			mu.Lock()
			header = req.Header
			mu.Unlock()
			switch string(req.Body) {
			case "fail":
				return nil, rpc.Errorf(rpc.NotFound, "nothing there")
			case "panic":
				panic("on order")
			case "baggage":
				return &rpc.Reply{Body: []byte(baggage.FromContext(ctx).String())}, nil
			}
			time.Sleep(time.Second)
			return &rpc.Reply{}, nil
		})
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		defer running.Wait()
		defer cancel()
		<-s.Ready()
		r.client, err = client.New(r.conn, client.WithInterceptors(tracing.Client(opts...)), client.WithHooks(tracing.Hooks()))
		if err != nil {
			t.Fatal(err)
		}
		defer r.client.Close(context.Background())
		f(t, r)
	})
}

func (r *rig) call(ctx context.Context, body string, opts ...client.CallOption) (*rpc.Reply, error) {
	return r.client.Do(client.With(ctx, opts...), &rpc.Request{Service: "math", Method: "do", Body: []byte(body)})
}

// ended returns the spans of a kind that have ended, in that order.
func (r *rig) ended(kind trace.SpanKind) (spans []sdk.ReadOnlySpan) {
	synctest.Wait()
	for _, s := range r.spans.Ended() {
		if s.SpanKind() == kind {
			spans = append(spans, s)
		}
	}
	return spans
}

// text shows what is said of a span, in the order of the names.
func text(s sdk.ReadOnlySpan) string {
	var lines []string
	for _, a := range s.Attributes() {
		lines = append(lines, string(a.Key)+"="+a.Value.String())
	}
	slices.Sort(lines)
	return s.Name() + " " + strings.Join(lines, " ")
}

func TestCall(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if _, err := r.call(t.Context(), "", client.WithCallID("id")); err != nil {
			t.Fatal(err)
		}
		calls, requests := r.ended(trace.SpanKindClient), r.ended(trace.SpanKindServer)
		if len(calls) != 1 || len(requests) != 1 {
			t.Fatalf("got %d spans of calls and %d of requests, want one each", len(calls), len(requests))
		}
		c, s := calls[0], requests[0]
		if s.Parent().SpanID() != c.SpanContext().SpanID() || s.SpanContext().TraceID() != c.SpanContext().TraceID() || !s.Parent().IsRemote() {
			t.Errorf("the request's parent is %v, want the call, %v", s.Parent(), c.SpanContext())
		}
		if took := c.EndTime().Sub(c.StartTime()); took < time.Second {
			t.Errorf("the call took %v, want a second or more", took)
		}
		where := "messaging.destination.name=rabbitrpc.math messaging.message.conversation_id=id " +
			"messaging.system=rabbitmq "
		rest := "rpc.method=math/do rpc.response.status_code=ok rpc.system.name=rabbitrpc"
		if got, want := text(c), "math/do "+where+"rabbitrpc.attempts=1 "+rest; got != want {
			t.Errorf("call: got  %s\nwant %s", got, want)
		}
		if got, want := text(s), "math/do "+where+"rabbitrpc.attempt=1 "+rest; got != want {
			t.Errorf("request: got  %s\nwant %s", got, want)
		}
		if c.Status().Code != codes.Unset || s.Status().Code != codes.Unset {
			t.Errorf("got status %v and %v, want none", c.Status(), s.Status())
		}
		if !strings.HasSuffix(c.InstrumentationScope().SchemaURL, "/1.43.0") {
			t.Errorf("conventions %s, want 1.43.0, as documented", c.InstrumentationScope().SchemaURL)
		}
	}, sdk.AlwaysSample())
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		body           string
		client, server codes.Code
		want           string
	}{
		{"fail", codes.Error, codes.Unset, "error.type=not_found"},
		{"panic", codes.Error, codes.Error, "error.type=internal"},
	} {
		t.Run(tt.body, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				if _, err := r.call(t.Context(), tt.body); err == nil {
					t.Fatal("got no error")
				}
				c, s := r.ended(trace.SpanKindClient)[0], r.ended(trace.SpanKindServer)[0]
				if c.Status().Code != tt.client || s.Status().Code != tt.server {
					t.Errorf("got status %v and %v, want %v and %v", c.Status(), s.Status(), tt.client, tt.server)
				}
				for _, span := range []sdk.ReadOnlySpan{c, s} {
					if got := text(span); !strings.Contains(got, tt.want) || !strings.Contains(got, "rabbitrpc.executed=yes") {
						t.Errorf("got %s, want %s, executed", got, tt.want)
					}
				}
			}, sdk.AlwaysSample())
		})
	}
}

// A call that was sent again is one span with two events; both requests are its children.
func TestAttempts(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if _, err := r.call(t.Context(), "fail"); err == nil { // sets up the session
			t.Fatal("got no error")
		}
		r.conn.Fail(conntest.LoseAfterPublish(1))
		if _, err := r.call(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		call := r.ended(trace.SpanKindClient)[1]
		var got []string
		for _, e := range call.Events() {
			set := attribute.NewSet(e.Attributes...)
			got = append(got, e.Name+" "+set.Encoded(attribute.DefaultEncoder()))
		}
		want := []string{
			"rabbitrpc.attempt rabbitrpc.attempt=1,rabbitrpc.ending=lost,rabbitrpc.mode=direct",
			"rabbitrpc.attempt rabbitrpc.attempt=2,rabbitrpc.ending=replied,rabbitrpc.mode=direct",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got events\n%q, want\n%q", got, want)
		}
		requests := r.ended(trace.SpanKindServer)[1:]
		if len(requests) != 2 {
			t.Errorf("got %d requests, want 2", len(requests))
		}
		for _, s := range requests {
			if s.Parent().SpanID() != call.SpanContext().SpanID() {
				t.Errorf("the parent of a request is %v, want the call, %v", s.Parent(), call.SpanContext())
			}
		}
		if !strings.Contains(text(requests[0])+text(requests[1]), "rabbitrpc.replayed=true") {
			t.Error("no request is said to be answered from the store")
		}
	}, sdk.AlwaysSample())
}

// What is not sampled is carried all the same: servers are not to decide anew.
func TestNotSampled(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if _, err := r.call(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.seen()["traceparent"]; !strings.HasSuffix(got, "-00") {
			t.Errorf("traceparent %q, want one that is not sampled", got)
		}
		if n := len(r.spans.Ended()); n != 0 {
			t.Errorf("%d spans were recorded, want none", n)
		}
	}, sdk.ParentBased(sdk.NeverSample()))
}

func TestBaggage(t *testing.T) {
	member, err := baggage.NewMember("user", "7")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	both := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	for _, tt := range []struct {
		name, want string
		opts       []tracing.Option
	}{
		{"by default", "", nil},
		{"on demand", "user=7", []tracing.Option{tracing.WithPropagator(both)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				reply, err := r.call(baggage.ContextWithBaggage(t.Context(), bag), "baggage")
				if err != nil || string(reply.Body) != tt.want {
					t.Errorf("the server got %q, %v, want %q", reply.Body, err, tt.want)
				}
			}, sdk.AlwaysSample(), tt.opts...)
		})
	}
}

// TestHeaders: to carry the context must not fail a call, nor cost a header of the caller's.
func TestHeaders(t *testing.T) {
	header := func(n, size int) rpc.Header {
		h := make(rpc.Header)
		for i := range n {
			h[fmt.Sprint("h", i)] = strings.Repeat("x", size)
		}
		return h
	}
	for _, tt := range []struct {
		name    string
		header  rpc.Header
		carried bool
	}{
		{"none", nil, true},
		{"some", header(10, 1), true},
		{"as many as may be", header(48, 1), false},
		{"as long as may be", header(1, 14<<10-10), false},
		{"of a trace before", rpc.Header{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				before := len(tt.header)
				if _, err := r.client.Do(t.Context(), &rpc.Request{Service: "math", Method: "do", Header: tt.header}); err != nil {
					t.Fatal(err)
				}
				seen := r.seen()
				call := r.ended(trace.SpanKindClient)[0]
				if carried := strings.Contains(seen["traceparent"], call.SpanContext().SpanID().String()); carried != tt.carried {
					t.Errorf("carried: got %v, want %v", carried, tt.carried)
				}
				for name, value := range tt.header {
					if name != "traceparent" && seen[name] != value {
						t.Errorf("header %s did not get there", name)
					}
				}
				if len(tt.header) != before {
					t.Error("the caller's headers were changed")
				}
			}, sdk.AlwaysSample())
		})
	}
}

// A stranger's context, and names that cannot be exported, are no harm to the server.
func TestHostileContext(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, parent := range []string{
			"", "00", "00-00000000000000000000000000000000-0000000000000000-01", strings.Repeat("0", 5000), "\xff\x00",
			"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		} {
			header := client.WithHeader("traceparent", parent)
			if _, err := r.call(t.Context(), "baggage", header, client.WithHeader("tracestate", "=,=\xff"), client.WithCallID("\xff"+parent[:min(len(parent), 9)])); err != nil {
				t.Errorf("%.20q: %v", parent, err)
			}
		}
		synctest.Wait()
		for _, s := range r.spans.Ended() {
			if !utf8.ValidString(text(s)) || s.SpanKind() == trace.SpanKindServer && s.Parent().IsValid() {
				t.Errorf("got %q, a child of %v", text(s), s.Parent())
			}
		}
	}, sdk.AlwaysSample())
}

// Without a provider there is nothing to carry, and requests are as they were.
func TestGlobalProvider(t *testing.T) {
	request := &rpc.Request{Service: "math", Method: "do"}
	call := tracing.Client()(func(_ context.Context, r *rpc.Request) (*rpc.Reply, error) {
		if r != request {
			t.Errorf("got %+v, want the request as it was", r)
		}
		return &rpc.Reply{}, nil
	})
	if _, err := call(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)))
	defer otel.SetTracerProvider(noop.NewTracerProvider())
	if _, err := tracing.Client()(func(context.Context, *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{}, nil })(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if len(spans.Ended()) != 1 {
		t.Errorf("%d spans, want one at the global provider", len(spans.Ended()))
	}
}

package otlp_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/otlp"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/telemetry/tracing"
)

// logs is what was logged.
type logs struct{ testlog.Log }

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A receiver takes traces as a collector does.
type receiver struct {
	*httptest.Server
	requests chan *collector.ExportTraceServiceRequest
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{requests: make(chan *collector.ExportTraceServiceRequest, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body io.Reader = req.Body
		if req.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		b, err := io.ReadAll(body)
		export := new(collector.ExportTraceServiceRequest)
		if err := errors.Join(err, proto.Unmarshal(b, export)); err != nil {
			t.Error(err)
		}
		if req.URL.Path != "/v1/traces" || req.Header.Get("Authorization") != "Bearer s3cret" {
			t.Errorf("got %s with %v", req.URL.Path, req.Header)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		r.requests <- export
	}))
	t.Cleanup(r.Close)
	return r
}

// call makes the span of one call.
func call(t *testing.T, id string) {
	t.Helper()
	handler := tracing.Server()(func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		return nil, rpc.Errorf(rpc.Internal, "it says \xff")
	})
	if _, err := handler(t.Context(), &rpc.Request{Service: "math", Method: "fib", ID: id}); err == nil {
		t.Fatal("got no error")
	}
}

func TestExport(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer s3cret")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	var said logs
	provider, err := otlp.Start(t.Context(), otlp.Config{Endpoint: r.URL, Version: "v1", Log: said.logger()})
	if err != nil {
		t.Fatal(err)
	}
	call(t, "one")
	call(t, "\xff\x00") // which must not cost the other
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var names []string
	about := make(map[string]string)
	for len(names) < 2 {
		for _, rs := range (<-r.requests).GetResourceSpans() {
			for _, a := range rs.GetResource().GetAttributes() {
				about[a.GetKey()] = a.GetValue().GetStringValue()
			}
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					names = append(names, s.GetName())
				}
			}
		}
	}
	if names[0] != "math/fib" || names[1] != "math/fib" {
		t.Errorf("got spans %q, want math/fib twice", names)
	}
	for key, want := range map[string]string{
		"service.name": "rabbitrpc", "service.version": "v1", "deployment.environment.name": "test", "telemetry.sdk.language": "go",
	} {
		if about[key] != want {
			t.Errorf("%s: got %q, want %q", key, about[key], want)
		}
	}
	if said.String() != "" {
		t.Errorf("logged: %s", said.String())
	}
}

// TestDeadCollector: no call waits for it, nor does the end of the program, and it is said once.
func TestDeadCollector(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	hangs, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.Close()
	for _, tt := range []struct{ name, addr string }{{"nobody listens", gone.Addr().String()}, {"hangs", hangs.Addr().String()}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
			t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "200")
			var said logs
			provider, err := otlp.Start(t.Context(), otlp.Config{Endpoint: "http://" + tt.addr, Log: said.logger()})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for range 3000 { // more than the queue holds
				call(t, "id")
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("3000 calls took %v", took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start = time.Now()
			_ = provider.Shutdown(ctx)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("shutdown took %v, want 300ms", took)
			}
			otel.Handle(errors.New("one more"))
			if n := strings.Count(said.String(), "traces are not exported"); n != 1 {
				t.Errorf("said %d times, want once:\n%s", n, said.String())
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	for _, tt := range []struct{ endpoint, want string }{
		{"", "must be a URL"},
		{"localhost:4318", "must be a URL"},
		{"grpc://localhost:4317", "must be a URL"},
		{"http://", "must be a URL"},
		{"http://me:s3cret@localhost", "must not have a password"},
		{"ftp://me:s3cret@localhost", "must be a URL"},
		{"http://me:s3cret@local host:%zz", "is not a URL"},
	} {
		_, err := otlp.Start(t.Context(), otlp.Config{Endpoint: tt.endpoint})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want %q without the password", tt.endpoint, err, tt.want)
		}
	}
}

// Ratio is of traces that begin here; others are as their callers have it.
func TestRatio(t *testing.T) {
	r := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer s3cret")
	provider, err := otlp.Start(t.Context(), otlp.Config{Endpoint: r.URL, Sampler: otlp.Ratio(0), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	call(t, "not sampled")
	handler := tracing.Server()(func(context.Context, *rpc.Request) (*rpc.Reply, error) { return &rpc.Reply{}, nil })
	header := rpc.Header{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	if _, err := handler(t.Context(), &rpc.Request{Service: "math", Method: "sampled", Header: header}); err != nil {
		t.Fatal(err)
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := (<-r.requests).GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()
	if len(spans) != 1 || spans[0].GetName() != "math/sampled" {
		t.Errorf("got %v, want the one that its caller has sampled", spans)
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collected is what the collector of a script has got.
type collected struct {
	mu    sync.Mutex // guards spans
	spans []*tracepb.Span
}

type collectedKey struct{}

func collector(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: collector")
	}
	c := new(collected)
	s := httptest.NewServer(c)
	ts.Defer(s.Close)
	env := ts.Value(envKey{}).(*testscript.Env)
	env.Values[collectedKey{}] = c
	ts.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	env.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL) // for start
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	export := new(collectorpb.ExportTraceServiceRequest)
	if err := errors.Join(err, proto.Unmarshal(body, export)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range export.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			c.spans = append(c.spans, ss.GetSpans()...)
		}
	}
}

func spans(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: spans FILE")
	}
	c := ts.Value(collectedKey{}).(*collected)
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make(map[string]string) // by ID, of all spans
	for _, s := range c.spans {
		names[string(s.GetTraceId())+string(s.GetSpanId())] = s.GetKind().String()
	}
	var lines []string
	for _, s := range c.spans {
		line := fmt.Sprint(s.GetKind(), " ", s.GetName(), " ", statusOf(s))
		if parent := names[string(s.GetTraceId())+string(s.GetParentSpanId())]; parent != "" {
			line += " in " + parent
		}
		lines = append(lines, strings.ReplaceAll(line, "SPAN_KIND_", "")+"\n")
	}
	slices.Sort(lines)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "")), 0o600))
}

func statusOf(s *tracepb.Span) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == "rpc.response.status_code" {
			return a.GetValue().GetStringValue()
		}
	}
	return "without status"
}

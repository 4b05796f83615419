package tracing_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/telemetry/tracing"
)

func TestLogHandler(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	none := t.Context()
	request := rpc.WithRequest(none, &rpc.Request{ID: "id", Header: rpc.Header{"traceparent": "00-" + trace + "-" + span + "-01"}})
	spanned, own := sdk.NewTracerProvider().Tracer("").Start(request, "handler")
	id := own.SpanContext()
	type line struct {
		Msg, Call, Added string
		TraceID          string `json:"trace_id"`
		SpanID           string `json:"span_id"`
	}
	var out bytes.Buffer
	log := slog.New(tracing.LogHandler(slog.NewJSONHandler(&out, nil)))
	for _, tt := range []struct {
		name string
		say  func()
		want line
	}{
		{"no call", func() { log.Info("m") }, line{Msg: "m"}},
		{"a request", func() { log.InfoContext(request, "m") }, line{Msg: "m", Call: "id", TraceID: trace, SpanID: span}},
		{"a request, and its ID", func() { log.InfoContext(request, "m", "call", "other") }, line{Msg: "m", Call: "other", TraceID: trace, SpanID: span}},
		{"a request without trace", func() { log.InfoContext(rpc.WithRequest(none, &rpc.Request{ID: "id"}), "m") }, line{Msg: "m", Call: "id"}},
		{"a span", func() { log.InfoContext(spanned, "m") }, line{Msg: "m", Call: "id", TraceID: id.TraceID().String(), SpanID: id.SpanID().String()}},
		{"a logger with attributes", func() { log.With("added", "x").InfoContext(request, "m") }, line{Msg: "m", Call: "id", Added: "x", TraceID: trace, SpanID: span}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out.Reset()
			tt.say()
			var got line
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A flood of one line is bounded, said, and does not hide others.
func TestLogFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log, err := newLogger(&out, "info")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100_000 {
			log.Warn("flood", "n", i)
		}
		log.Warn("another")
		log.Error("flood") // of another level
		time.Sleep(2 * time.Second)
		log.Warn("flood", "n", "last")
		count := func(text string) int { return strings.Count(out.String(), text) }
		if flood, another := count(`"msg":"flood"`), count("another"); flood != sampleMost+2 || another != 1 {
			t.Errorf("%d lines of the flood, want %d, and %d others, want 1", flood, sampleMost+2, another)
		}
		if said, lines := count("were left out"), count(`"lines":99980`); said != 1 || lines != 1 {
			t.Errorf("what was left out is said %d times, want once, with the number:\n%.1000s", said, out.String())
		}
	})
}

// Lines about a call name it, and its trace.
func TestLogOfACall(t *testing.T) {
	var out strings.Builder
	log, err := newLogger(&out, "info")
	if err != nil {
		t.Fatal(err)
	}
	request := &rpc.Request{ID: "id\x1b[2J", Header: rpc.Header{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	log.InfoContext(rpc.WithRequest(context.Background(), request), "hello")
	var got struct {
		Call    string
		TraceID string `json:"trace_id"`
	}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Call != request.ID || got.TraceID != "0af7651916cd43dd8448eb211c80319c" || strings.Contains(out.String(), "\x1b") {
		t.Errorf("got %s, want the call and its trace, escaped", out.String())
	}
}

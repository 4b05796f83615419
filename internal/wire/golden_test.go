package wire_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

var update = flag.Bool("update", false, "write the golden files")

// request is one with all that a caller can set.
func request() *rpc.Request {
	return &rpc.Request{
		Service: "math", Method: "fib", ContentType: "application/json", Body: []byte("30"),
		Header: rpc.Header{"traceparent": "00-1-2-01", "tenant": "blue"},
		ID:     "4f1c", Client: "billing", Attempt: 2,
	}
}

func attempt(mode wire.Mode) wire.Attempt {
	return wire.Attempt{Mode: mode, Queue: "rpc_queue", ReplyTo: "amq.gen-1", Timeout: 1500 * time.Millisecond}
}

// call is what a server knows of such a request.
func call() *wire.Call {
	return &wire.Call{Request: *request(), ReplyTo: "amq.gen-1", Timeout: 1500 * time.Millisecond}
}

func TestGolden(t *testing.T) {
	reply := rpc.Reply{ContentType: "application/json", Body: []byte("832040"), Server: "host/1"}
	replayed := reply
	replayed.Replayed = true
	once := attempt(wire.Direct)
	once.Once, once.Priority = true, 3
	first, firstCall := *request(), call()
	first.Attempt, first.Header, firstCall.Attempt = 1, nil, 1
	many := attempt(wire.Direct)
	many.Gather = 2 * time.Millisecond
	durable := call()
	durable.Persistent = true
	failure := &rpc.Error{
		Code: rpc.ResourceExhausted, Message: "over quota", Details: json.RawMessage(`{"limit":10}`),
		RetryAfter: 250 * time.Millisecond, Executed: rpc.ExecutedNo,
	}
	instance := rpc.Instance{
		Service: "math", Name: "host/1", ID: "7QK2", Version: "1.2.0", Library: "v1.0.0", State: "serving", UptimeMS: 61_000,
	}
	info, stats := instance, instance
	info.Info = &rpc.InstanceInfo{
		Methods: []string{"double", "fib"}, MoreMethods: 1, Workers: 16, Queue: "rabbitrpc.math", QueueType: "classic",
		PlainQueue: "rpc_queue", Store: "lru",
	}
	stats.Stats = &rpc.InstanceStats{Running: 3, Limit: 16, Received: 100, Answered: 90, Replayed: 2, Failed: 4, Rejected: 3}
	for _, c := range []struct {
		name string
		m    *conn.Message
	}{
		{"question", wire.EncodeQuestion(wire.Info, "math", "4f1c", "amq.gen-1", 500*time.Millisecond)},
		{"question-all", wire.EncodeQuestion(wire.Ping, "", "4f1c", "amq.gen-1", 500*time.Millisecond)},
		{"answer-ping", answerOf(t, &instance)},
		{"answer-info", answerOf(t, &info)},
		{"answer-stats", answerOf(t, &stats)},
		{"request", wire.EncodeRequest(&first, attempt(wire.Direct))},
		{"request-direct", wire.EncodeRequest(request(), attempt(wire.Direct))},
		{"request-gather", wire.EncodeRequest(&first, many)},
		{"request-queued", wire.EncodeRequest(request(), attempt(wire.Queued))},
		{"request-durable", wire.EncodeRequest(request(), attempt(wire.Durable))},
		{"request-at-most-once", wire.EncodeRequest(request(), once)},
		{"request-plain", wire.EncodeRequest(request(), attempt(wire.Plain))},
		{"reply", wire.EncodeReply(firstCall, &reply)},
		{"reply-second", wire.EncodeReply(call(), &reply)},
		{"reply-replayed", wire.EncodeReply(call(), &replayed)},
		{"reply-persistent", wire.EncodeReply(durable, &reply)},
		{"error", wire.EncodeError(call(), failure, "host/1")},
		{"error-bare", wire.EncodeError(&wire.Call{ReplyTo: "q"}, rpc.Errorf(rpc.Internal, "broken"), "host/1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.m.Validate(); err != nil {
				t.Error(err)
			}
			file := filepath.Join("testdata", c.name+".golden")
			got := show(c.m)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func answerOf(t *testing.T, i *rpc.Instance) *conn.Message {
	t.Helper()
	m, err := wire.EncodeAnswer(&wire.Call{Request: rpc.Request{ID: "4f1c", Attempt: 1}, ReplyTo: "amq.gen-1"}, i)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// show prints what of a message is set, in a fixed order.
func show(m *conn.Message) string {
	var b strings.Builder
	line := func(name string, value any, set bool) {
		if set {
			fmt.Fprintf(&b, "%s: %v\n", name, value)
		}
	}
	line("exchange", fmt.Sprintf("%q", m.Exchange), true)
	line("routing key", m.Key, true)
	line("mandatory", m.Mandatory, m.Mandatory)
	line("persistent", m.Persistent, m.Persistent)
	for _, p := range [][2]string{
		{"content type", m.ContentType}, {"content encoding", m.ContentEncoding}, {"correlation id", m.CorrelationID},
		{"reply-to", m.ReplyTo}, {"message id", m.MessageID}, {"type", m.Type}, {"user id", m.UserID}, {"app id", m.AppID},
		{"expiration", m.Expiration},
	} {
		line(p[0], p[1], p[1] != "")
	}
	line("priority", m.Priority, m.Priority != 0)
	line("timestamp", m.Timestamp, !m.Timestamp.IsZero())
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		fmt.Fprintf(&b, "header %s: %T %v\n", name, m.Headers[name], m.Headers[name])
	}
	fmt.Fprintf(&b, "\n%s\n", m.Body)
	return b.String()
}

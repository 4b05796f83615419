package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

func park(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 4 || len(args) > 5 {
		ts.Fatalf("usage: [!] park SERVICE ID METHOD FILE [CONTENT-TYPE]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	service, contentType := args[0], rpc.ContentTypeJSON
	for i := range args[1:3] {
		var err error
		args[i+1], err = strconv.Unquote(`"` + args[i+1] + `"`)
		ts.Check(err)
	}
	if len(args) == 5 {
		contentType = args[4]
	}
	s, done, err := sessionOf(ctx, ts.Getenv("RABBITMQ_URL"))
	ts.Check(err)
	defer done()
	body := []byte(ts.ReadFile(args[3]))
	if neg {
		ts.Check(putParked(ctx, s, service, nil, &conn.Message{Key: wire.ParkedQueue(service), CorrelationID: args[1], Type: args[2], Body: body}))
	} else {
		ts.Check(parkAs(ctx, s, service, nil, &rpc.Request{
			Service: service, Method: args[2], ContentType: contentType, Body: body,
			ID: args[1], Client: "billing/1", Attempt: 1, Header: rpc.Header{"tenant": "blue\x1b[2J"},
		}))
	}
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s, done, err := sessionOf(ctx, ts.Getenv("RABBITMQ_URL"))
		ts.Check(err)
		defer done()
		ts.Check(s.DeleteQueue(ctx, wire.ParkedQueue(service)))
	})
}

func sessionOf(ctx context.Context, url string) (s conn.Session, done func(), err error) {
	m, err := conn.Open(ctx, url, conn.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, nil, err
	}
	done = func() { m.Close(ctx) }
	if s, err = m.Session(ctx); err != nil {
		done()
	}
	return s, done, err
}

// parkAs parks a request as a server does, in a queue with these arguments besides.
func parkAs(ctx context.Context, s conn.Session, service string, args map[string]any, r *rpc.Request) error {
	m := wire.EncodeRequest(r, wire.Attempt{Mode: wire.Queued, ReplyTo: "amq.gen-1", Timeout: time.Second})
	return putParked(ctx, s, service, args, wire.EncodeParked(m, service, wire.Parking{
		Reason: "whoever ran it did not live to answer it", Attempts: 5, At: time.Unix(1700000000, 0), Server: "host/1", User: "clerk",
	}))
}

// putParked puts a message into the queue of parked requests.
func putParked(ctx context.Context, s conn.Session, service string, args map[string]any, m *conn.Message) error {
	all := map[string]any{"x-max-length": int64(10_000)}
	for name, value := range args {
		all[name] = value
	}
	if _, err := s.DeclareQueue(ctx, conn.Queue{Name: wire.ParkedQueue(service), Durable: true, Args: all}); err != nil {
		return err
	}
	p, err := s.OpenPublisher(ctx, nil)
	if err != nil {
		return err
	}
	confirms := make(chan bool, 1)
	err = p.Publish(m, func(ok bool) { confirms <- ok })
	if err != nil {
		return err
	}
	select {
	case ok := <-confirms:
		if !ok {
			return errors.New("refused")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// user makes a user of the broker, anew if there is one of that name, and its address. Without patterns for topics it may use all.
func user(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 && len(args) != 6 {
		ts.Fatalf("usage: user NAME CONFIGURE WRITE READ [WRITE-TOPICS READ-TOPICS]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	node := testbroker.Node(ts.Value(testKey{}).(*testing.T))
	name := erlang(args[0])
	commands := []string{
		fmt.Sprintf(`catch rabbit_auth_backend_internal:delete_user(%s, <<"test">>)`, name), // of before
		fmt.Sprintf(`rabbit_auth_backend_internal:add_user(%s, <<"secret">>, <<"test">>)`, name),
		fmt.Sprintf(`rabbit_auth_backend_internal:set_permissions(%s, <<"/">>, %s, %s, %s, <<"test">>)`,
			name, erlang(args[1]), erlang(args[2]), erlang(args[3])),
	}
	if len(args) == 6 {
		commands = append(commands, fmt.Sprintf(`rabbit_auth_backend_internal:set_topic_permissions(%s, <<"/">>, <<"rabbitrpc">>, %s, %s, <<"test">>)`,
			name, erlang(args[4]), erlang(args[5])))
	}
	_, err := node.Ctl(ctx, "eval", strings.Join(commands, ", ")+".")
	ts.Check(err)
	ts.Defer(func() { node.Ctl(context.Background(), "delete_user", args[0]) })
	ts.Setenv(args[0], fmt.Sprintf("amqp://%s:secret@%s", args[0], ts.Getenv("ADDR")))
}

type testKey struct{}

// TestParkedOnBroker: each kind of queue gives back what is read, in its order, as often as that happens.
func TestParkedOnBroker(t *testing.T) {
	url := testbroker.URL(t)
	for _, c := range []struct {
		name, service string
		args          map[string]any
	}{
		{"classic", "reading-classic", nil},
		{"quorum", "reading-quorum", map[string]any{"x-queue-type": "quorum"}},
		{"quorum that drops", "reading-limited", map[string]any{"x-queue-type": "quorum", "x-delivery-limit": int64(20)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			s, done, err := sessionOf(ctx, url)
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			defer s.DeleteQueue(ctx, wire.ParkedQueue(c.service))
			var want []string
			for i := range 100 { // few are given back in order by luck
				id := fmt.Sprint("call-", i)
				want = append(want, id)
				if err := parkAs(ctx, s, c.service, c.args, &rpc.Request{
					Service: c.service, Method: "fib", ContentType: rpc.ContentTypeJSON, Body: []byte("30"), ID: id, Client: "c", Attempt: 1,
				}); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 45 {
				if got := readParked(t, url, c.service, i == 0); !slices.Equal(got, want) {
					t.Fatalf("reading %d: got %q, want %q", i, got, want)
				}
			}
		})
	}
}

// readParked reads a parked queue as the command does, maybe with a second reader.
func readParked(t *testing.T, url, service string, second bool) (ids []string) {
	t.Helper()
	ctx := t.Context()
	m, err := conn.Open(ctx, url, conn.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(ctx)
	q, err := parked.Open(ctx, m, service, parked.MaxHeld)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}()
	if second {
		if _, err := parked.Open(ctx, m, service, 1); !errors.Is(err, parked.ErrBusy) {
			t.Errorf("a second reader: got %v", err)
		}
	}
	for r, err := range q.Requests(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.CorrelationID)
	}
	return ids
}

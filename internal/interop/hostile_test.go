package interop_test

import (
	"context"
	"encoding/base64"
	"regexp"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestReplyIntoForeignQueue: a caller must not make the server write into a queue that it could not write into itself.
func TestReplyIntoForeignQueue(t *testing.T) {
	const queue, work = "interop_foreign", "interop_work"
	s := serve(t, queue, server.WithWorkers(1)) // in order
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	session, publisher := publisher(t)
	if _, err := session.DeclareQueue(ctx, conn.Queue{Name: work, Durable: true}); err != nil {
		t.Fatal(err)
	}
	defer deleteQueue(t, work)
	targets := []string{work, queue, "rabbitrpc.interop", "rabbitrpc.interop.parked", "no-such-queue", "amq.topic", ""}
	for _, target := range targets {
		m := conn.Message{Key: queue, ReplyTo: target, CorrelationID: "1", ContentType: "text/plain", Body: []byte("30")}
		if err := publisher.Publish(&m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := call(t, peer{Queue: queue, Body: "30", Times: 1})[0][0]; got == nil || got.Body != "832040" {
		t.Errorf("afterwards: got %+v, want 832040", got)
	}
	if got := s.Stats().Dropped; got != uint64(len(targets)) {
		t.Errorf("%d requests were dropped, want %d", got, len(targets))
	}
	for _, name := range []string{work, queue, "rabbitrpc.interop"} {
		info, err := session.InspectQueue(ctx, name)
		if err != nil || info.Messages != 0 {
			t.Errorf("%s has %d messages, %v, want none", name, info.Messages, err)
		}
	}
}

// TestReplyIntoAllowedQueue: a reply queue that is not exclusive is answered if the server was told so.
func TestReplyIntoAllowedQueue(t *testing.T) {
	const queue, replies = "interop_allowed", "interop_replies"
	serve(t, queue, server.WithReplyTo(regexp.MustCompile("interop_[rst]eplies")))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	session, publisher := publisher(t)
	if _, err := session.DeclareQueue(ctx, conn.Queue{Name: replies, Durable: true}); err != nil {
		t.Fatal(err)
	}
	defer deleteQueue(t, replies)
	got := make(chan *conn.Delivery, 1)
	if _, err := session.Consume(ctx, conn.Consume{Queue: replies, NoAck: true}, func(d *conn.Delivery) { got <- d }); err != nil {
		t.Fatal(err)
	}
	m := conn.Message{Key: queue, ReplyTo: replies, CorrelationID: "1", ContentType: "text/plain", Body: []byte("30")}
	if err := publisher.Publish(&m, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-got:
		if string(d.Body) != "832040" || d.CorrelationID != "1" {
			t.Errorf("got %+v, want 832040", d.Message)
		}
	case <-ctx.Done():
		t.Error("no reply")
	}
}

// TestMadeUpDirectReplyTo: an address of direct reply-to that nobody was given closes the connection on which it is
// answered, with RabbitMQ up to 4.2. No other reply must suffer, of whatever kind.
func TestMadeUpDirectReplyTo(t *testing.T) {
	const queue = "interop_made_up"
	serve(t, queue)
	_, publisher := publisher(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	sent := make(chan int, 1)
	go func() { sent <- flood(ctx, publisher, queue) }()
	peers := []peer{
		{Queue: queue, Body: "30", Times: 200},
		{Queue: queue, Body: "30", Times: 200, Reply: "interop.replies-2"},
		{Queue: queue, Body: "30", Times: 200, Reply: "direct"},
	}
	for i, replies := range call(t, peers...) {
		for n, got := range replies {
			if got == nil || got.Body != "832040" {
				t.Errorf("reply queue %q, call %d: got %+v, want 832040", peers[i].Reply, n, got)
			}
		}
	}
	stop()
	if n := <-sent; n < 10 {
		t.Errorf("only %d made-up addresses were sent", n)
	}
}

// flood sends requests with made-up addresses until ctx ends, and returns how many.
func flood(ctx context.Context, p conn.Publisher, queue string) (sent int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, address := range madeUp() {
			m := conn.Message{Key: queue, ReplyTo: address, CorrelationID: "1", Body: []byte("30")}
			if p.Publish(&m, nil) == nil {
				sent++
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return sent
		}
	}
}

// madeUp returns addresses of direct reply-to that RabbitMQ has not given to anybody: a process of another node, one of
// no node, and what is no term at all.
func madeUp() []string {
	const prefix = "amq.rabbitmq.reply-to."
	pid := func(node string) string {
		term := append([]byte{131, 88, 100, 0, byte(len(node))}, node...)
		return base64.StdEncoding.EncodeToString(append(term, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)) + ".a2V5"
	}
	return []string{
		prefix + pid("rabbit@nowhere"),
		prefix + pid(""),
		prefix + "g2dkAA5yYWJiaXRAbm93aGVyZQAAAAEAAAAAAA==.a2V5",
		prefix + "not base64",
		prefix + "AAAA",
	}
}

// publisher returns a publisher, in a session of its own.
func publisher(t *testing.T) (conn.Session, conn.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	session, err := open(t, testbroker.URL(t)).Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p, err := session.OpenPublisher(ctx, func(*conn.Return) {})
	if err != nil {
		t.Fatal(err)
	}
	return session, p
}

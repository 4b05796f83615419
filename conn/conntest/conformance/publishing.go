package conformance

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// short makes a queue like that of a service, for one message.
func short(p *peer, args map[string]any) (queue, key string) {
	args["x-max-length"], args["x-dead-letter-exchange"] = int64(1), ""
	queue, key = p.queue(conn.Queue{Durable: true, Args: args}), unique()
	p.bind(queue, "amq.direct", key)
	return queue, key
}

var publishing = []testCase{
	{"all properties arrive", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		now := time.Unix(1700000000, 123)
		sent := conn.Message{
			Key: q, Mandatory: true, Persistent: true, ContentType: "text/plain", ContentEncoding: "identity", CorrelationID: "c",
			ReplyTo: "r", MessageID: "m", Type: "t", AppID: "app", Expiration: "600000", Priority: 3, Timestamp: now,
			Headers: map[string]any{
				"s": "text", "b": true, "i": int64(1) << 40, "f": 1.5, "nil": nil, "t": now,
				"bytes": []byte{0, 1}, "list": []any{"x", int64(2)},
			},
			Body: []byte("body"),
		}
		want := sent
		want.Mandatory = false // a part of publishing, not of the message
		want.Body = []byte("body")
		want.Timestamp = time.Unix(now.Unix(), 0)
		want.Headers = map[string]any{
			"s": "text", "b": true, "i": int64(1) << 40, "f": 1.5, "nil": nil, "t": want.Timestamp,
			"bytes": []byte{0, 1}, "list": []any{"x", int64(2)},
		}
		b.publish(sent)
		sent.Body[0], sent.Headers["s"] = 'X', "changed" // belongs to the caller again
		sent.Headers["bytes"].([]byte)[0] = 'X'
		sent.Headers["list"].([]any)[0] = "changed"
		got := a.consume(conn.Consume{Queue: q, Prefetch: 1}).next().Message
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}},
	{"no properties arrive as none", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.publish(conn.Message{Key: q, Body: []byte("x")})
		got := a.consume(conn.Consume{Queue: q, Prefetch: 1}).next().Message
		if want := (conn.Message{Key: q, Body: []byte("x")}); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %#v\nwant %#v", got, want)
		}
	}},
	{"unroutable mandatory message is returned, then confirmed", func(t *testing.T, a, b *peer) {
		m := conn.Message{Key: unique(), Mandatory: true, CorrelationID: "c", Headers: map[string]any{"h": "v"}, Body: []byte("x")}
		for range 20 {
			returned := make(chan int, 1)
			if err := a.Publish(&m, func(ok bool) {
				if !ok {
					t.Error("refused")
				}
				returned <- len(a.returns)
			}); err != nil {
				t.Fatal(err)
			}
			if n := receive(t, returned, "confirmation"); n != 1 {
				t.Fatalf("%d returns before the confirmation, want 1", n)
			}
			r := <-a.returns
			if r.Code != 312 || r.Reason != "NO_ROUTE" || !reflect.DeepEqual(r.Message, m) {
				t.Errorf("got  %+v\nwant %+v", *r, m)
			}
		}
	}},
	{"closed publisher publishes nothing, and does no harm", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		c := a.consume(conn.Consume{Queue: q, Prefetch: 10})
		for _, confirmed := range []func(bool){nil, func(bool) {}} {
			p, err := a.Session.OpenPublisher(t.Context(), func(*conn.Return) {})
			ok(t, err)
			for _, routed := range []bool{false, true} {
				ok(t, p.Publish(&conn.Message{Key: q, Body: []byte("x"), ConfirmRouted: routed, ConfirmLater: routed}, confirmed))
			}
			ok(t, p.Close(t.Context()))
			for range 2 {
				if got := string(c.next().Body); got != "x" {
					t.Errorf("got %q", got)
				}
			}
			if err := p.Publish(&conn.Message{Key: q, Body: []byte("late")}, confirmed); !errors.Is(err, conn.ErrClosed) || !conn.NotSent(err) {
				t.Errorf("published: %v", err)
			}
			ok(t, p.Close(t.Context()))
		}
		a.publish(conn.Message{Key: q, Body: []byte("y")})
		if got := string(c.next().Body); got != "y" || a.Session.Err() != nil {
			t.Errorf("got %q, %v", got, a.Session.Err())
		}
	}},
	{"a session can open and close any number of publishers", func(t *testing.T, a, b *peer) {
		for range 1200 { // of two channels each, where a connection has 2047
			p, err := a.Session.OpenPublisher(t.Context(), nil)
			ok(t, err)
			ok(t, p.Close(t.Context()))
		}
	}},
	{"unroutable mandatory message is returned without a confirmation", func(t *testing.T, a, b *peer) {
		ok(t, a.Publish(&conn.Message{Key: unique(), Mandatory: true, Body: []byte("x")}, nil))
		if r := receive(t, a.returns, "return"); string(r.Body) != "x" {
			t.Errorf("got %q back, want x", r.Body)
		}
	}},
	{"messages that are confirmed when they are routed", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		m := conn.Message{Key: q, Mandatory: true, ConfirmRouted: true, Body: []byte("x")}
		for n := range 100 {
			confirmed := make(chan bool, 10)
			for range cap(confirmed) {
				ok(t, b.Publish(&m, func(ok bool) { confirmed <- ok }))
			}
			for range cap(confirmed) {
				if !receive(t, confirmed, "confirmation") {
					t.Error("refused")
				}
			}
			if n == 0 {
				a.wantState(q, cap(confirmed), 0)
			}
		}
		a.wantState(q, 1000, 0)
		m.Key = unique()
		returned := make(chan int, 1)
		ok(t, b.Publish(&m, func(bool) { returned <- len(b.returns) }))
		if n := receive(t, returned, "confirmation"); n != 1 {
			t.Errorf("%d returns before the confirmation, want 1", n)
		}
		a.wantAlive()
	}},
	{"unroutable message is confirmed and gone", func(t *testing.T, a, b *peer) {
		if !a.publish(conn.Message{Key: unique()}) {
			t.Error("refused")
		}
		if len(a.returns) != 0 {
			t.Error("returned, though not mandatory")
		}
	}},
	{"missing exchange ends the session", func(t *testing.T, a, b *peer) {
		confirmed := make(chan bool, 1)
		ok(t, a.Publish(&conn.Message{Exchange: unique()}, func(ok bool) { confirmed <- ok }))
		a.wantOver(conn.ErrNotFound)
		err := a.Publish(&conn.Message{Key: "x"}, nil)
		wantErr(t, "later publish", err, conn.ErrClosed)
		if !conn.NotSent(err) {
			t.Error("NotSent is false for it")
		}
		if len(confirmed) != 0 {
			t.Error("the message was confirmed")
		}
		b.wantAlive()
	}},
	{"user id of somebody else ends the session", func(t *testing.T, a, b *peer) {
		q := b.queue(conn.Queue{})
		ok(t, a.Publish(&conn.Message{Key: q, UserID: unique()}, nil))
		a.wantOver(conn.ErrPrecondition)
		b.wantState(q, 0, 0)
	}},
	{"refused is the last message of its channel, if any", func(t *testing.T, a, b *peer) {
		q := b.queue(conn.Queue{})
		refused, good := conn.Message{Exchange: unique(), CorrelationID: "refused", Body: []byte("large")}, conn.Message{Key: q, CorrelationID: "good"}
		for name, f := range map[string]func(p *peer, other conn.Publisher){
			"another channel": func(p *peer, _ conn.Publisher) {
				ok(t, p.Publish(&good, nil))
				ok(t, p.Publish(&refused, func(bool) {}))
				p.wantOver(conn.ErrNotFound)
			},
			"another publisher": func(p *peer, other conn.Publisher) {
				ok(t, other.Publish(&good, nil))
				ok(t, p.Publish(&refused, nil))
				p.wantOver(conn.ErrNotFound)
				if m := other.Refused(); m != nil {
					t.Errorf("another publisher: got %q, want none", m.CorrelationID)
				}
			},
		} {
			p := dial(t, a.connector)
			other, err := p.OpenPublisher(p.ctx, nil)
			ok(t, err)
			if m := p.Refused(); m != nil {
				t.Errorf("%s, before: got %q, want none", name, m.CorrelationID)
			}
			f(p, other)
			if m := p.Refused(); m == nil || m.CorrelationID != refused.CorrelationID || m.Body != nil {
				t.Errorf("%s: got %+v, want the one that was refused, without its body", name, m)
			}
		}
		ok(t, a.Publish(&good, nil))
		ok(t, a.Close(a.ctx))
		if m := a.Refused(); m != nil {
			t.Errorf("closed: got %q, want none", m.CorrelationID)
		}
	}},
	{"exchange is looked for before the user id", func(t *testing.T, a, b *peer) {
		ok(t, a.Publish(&conn.Message{Exchange: unique(), UserID: unique()}, nil))
		a.wantOver(conn.ErrNotFound)
	}},
	{"carbon copies", func(t *testing.T, a, b *peer) {
		q1, q2, q3 := a.queue(conn.Queue{}), a.queue(conn.Queue{}), a.queue(conn.Queue{})
		cc := []any{q2, q3, q1, unique()}
		b.publish(conn.Message{Key: q1, Mandatory: true, Headers: map[string]any{"CC": cc}, Body: []byte("x")})
		for _, q := range []string{q1, q2, q3} {
			a.wantState(q, 1, 0) // one each, though q1 is named twice
			d := a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("x", false)
			if d.Key != q1 || !reflect.DeepEqual(d.Headers["CC"], any(cc)) {
				t.Errorf("came with key %q and CC %v, want %q, %v", d.Key, d.Headers["CC"], q1, cc)
			}
		}
	}},
	{"mandatory message with a carbon copy only is not returned", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.publish(conn.Message{Key: unique(), Mandatory: true, Headers: map[string]any{"CC": []any{q}}})
		a.wantState(q, 1, 0)
		if len(b.returns) != 0 {
			t.Error("returned")
		}
	}},
	{"message that cannot be sent", func(t *testing.T, a, b *peer) {
		for _, m := range []conn.Message{
			{Key: strings.Repeat("x", 256)},
			{CorrelationID: strings.Repeat("x", 256)},
			{Expiration: "soon"},
			{Expiration: "-1"},
			{Headers: map[string]any{"n": 1}},
			{Headers: map[string]any{"CC": "y"}},
			{Headers: map[string]any{"h": strings.Repeat("x", 1<<20)}},
		} {
			err := a.Publish(&m, func(bool) { t.Error("confirmed") })
			wantErr(t, "publish", err, conn.ErrInvalid)
			if !conn.NotSent(err) {
				t.Errorf("NotSent is false for %v", err)
			}
		}
		a.wantAlive()
	}},
	{"full queue refuses", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{Args: map[string]any{"x-max-length": int64(1), "x-overflow": "reject-publish"}})
		a.send(q, "1")
		if a.publish(conn.Message{Key: q, Mandatory: true, Body: []byte("2")}) {
			t.Error("confirmed a message beyond the limit")
		}
		ok(t, a.Publish(&conn.Message{Key: q, Mandatory: true, Body: []byte("lost in silence")}, nil))
		a.wantState(q, 1, 0)
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		ok(t, in.want("1", false).Ack())
		a.wantState(q, 0, 1)
		a.wantAlive()
		if len(a.returns) != 0 {
			t.Error("returned")
		}
	}},
	{"queue without a bound refuses nothing", func(t *testing.T, a, b *peer) {
		a.send(a.queue(conn.Queue{Args: map[string]any{"x-overflow": "reject-publish"}}), "1", "2")
	}},
	{"full queue refuses, and sends what it refuses back", func(t *testing.T, a, b *peer) {
		q, key := short(a, map[string]any{"x-overflow": "reject-publish-dlx"})
		a.send(q, "1")
		reply := b.queue(conn.Queue{})
		back := b.consume(conn.Consume{Queue: reply, Prefetch: 1})
		for _, expiration := range []string{"0", "600000"} {
			m := conn.Message{Exchange: "amq.direct", Key: key, Mandatory: true, Expiration: expiration, CorrelationID: "c",
				Headers: map[string]any{"CC": []any{reply}}, Body: []byte("2")}
			ok(t, b.Publish(&m, nil))
			d := back.want("2", false)
			wantHeaders(t, d, map[string]any{"x-first-death-reason": "maxlen", "x-first-death-queue": q})
			if ok(t, d.Ack()); d.CorrelationID != "c" || d.Expiration != "" {
				t.Errorf("came as %+v", d.Message)
			}
			m.Persistent = true
			if b.publish(m) {
				t.Error("confirmed a message beyond the limit")
			}
			ok(t, back.want("2", false).Ack())
		}
		if len(b.returns) != 0 {
			t.Error("returned")
		}
		a.wantState(q, 1, 0)
		a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("1", false)
	}},
	{"full queue that refuses drops nothing that is given back", func(t *testing.T, a, b *peer) {
		q, _ := short(a, map[string]any{"x-overflow": "reject-publish-dlx"})
		a.send(q, "1")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		d := in.want("1", false)
		a.send(q, "2")
		ok(t, in.Cancel(a.ctx))
		ok(t, d.Nack(true))
		a.wantState(q, 2, 0)
		in = a.consume(conn.Consume{Queue: q, Prefetch: 2})
		in.want("1", true)
		in.want("2", false)
	}},
	{"full quorum queue sends its oldest back", func(t *testing.T, a, b *peer) {
		q, key := short(a, map[string]any{"x-queue-type": "quorum"})
		reply := b.queue(conn.Queue{})
		for _, body := range []string{"1", "2"} {
			m := conn.Message{Exchange: "amq.direct", Key: key, Headers: map[string]any{"CC": []any{reply}}, Body: []byte(body)}
			if !b.publish(m) {
				t.Error("refused")
			}
		}
		d := b.consume(conn.Consume{Queue: reply, Prefetch: 1}).want("1", false)
		wantHeaders(t, d, map[string]any{"x-first-death-reason": "maxlen", "x-first-death-queue": q})
		a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("2", false)
	}},
	{"message refused by one of its queues", func(t *testing.T, a, b *peer) {
		full := a.queue(conn.Queue{Args: map[string]any{"x-max-length": int64(0), "x-overflow": "reject-publish"}})
		q := a.queue(conn.Queue{})
		if a.publish(conn.Message{Key: full, Headers: map[string]any{"CC": []any{q}}}) {
			t.Error("confirmed, though one queue refused it")
		}
		a.wantState(q, 1, 0)
	}},
}

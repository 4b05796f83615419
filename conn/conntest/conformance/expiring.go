package conformance

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A service is a queue as servers declare it, and its exchange: what is not done goes back to the caller by the routing key.
func service(p *peer) (queue, exchange string) {
	queue = p.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": ""}})
	exchange = p.exchange(conn.Exchange{Kind: "fanout"})
	p.bind(queue, exchange, "")
	return queue, exchange
}

// request publishes to a service, now or never, and returns where it bounces to.
func request(p *peer, exchange, body string) (bounces *inbox) {
	reply := p.queue(conn.Queue{Exclusive: true, AutoDelete: true})
	bounces = p.consume(conn.Consume{Queue: reply, NoAck: true})
	again(p, exchange, body, reply)
	return bounces
}

func again(p *peer, exchange, body, reply string) {
	p.t.Helper()
	if !p.publish(conn.Message{
		Exchange: exchange, Key: reply, Mandatory: true, Expiration: "0", CorrelationID: "id-" + body, ReplyTo: reply,
		Body: []byte(body),
	}) {
		p.t.Fatal("refused")
	}
}

func wantBounce(t *testing.T, bounces *inbox, body, queue string) {
	t.Helper()
	d := bounces.want(body, false)
	if d.CorrelationID != "id-"+body || d.Headers["x-first-death-reason"] != "expired" || d.Headers["x-first-death-queue"] != queue {
		t.Errorf("bounced as %q with %v", d.CorrelationID, d.Headers)
	}
}

var expiring = []testCase{
	{"now or never: nobody consumes", func(t *testing.T, a, b *peer) {
		q, exchange := service(a)
		wantBounce(t, request(b, exchange, "x"), "x", q)
		a.wantState(q, 0, 0)
	}},
	{"now or never: a consumer has room", func(t *testing.T, a, b *peer) {
		q, exchange := service(a)
		in := a.consume(conn.Consume{Queue: q, Prefetch: 2}) // nothing tells when an acknowledgement has made room
		bounces := request(b, exchange, "x")
		d := in.want("x", false)
		if d.Expiration != "0" || d.Key != d.ReplyTo {
			t.Errorf("came with expiration %q and key %q", d.Expiration, d.Key)
		}
		ok(t, d.Ack())
		again(b, exchange, "y", d.ReplyTo)
		ok(t, in.want("y", false).Ack())
		bounces.empty()
	}},
	{"now or never: consumers have no room", func(t *testing.T, a, b *peer) {
		q, exchange := service(a)
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		bounces := request(b, exchange, "x")
		d := in.want("x", false)
		again(b, exchange, "y", d.ReplyTo)
		wantBounce(t, bounces, "y", q)
		ok(t, d.Ack())
		bounces.empty()
		in.empty()
	}},
	{"now or never: the second consumer has room", func(t *testing.T, a, b *peer) {
		q, exchange := service(a)
		one := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		two := b.consume(conn.Consume{Queue: q, Prefetch: 2})
		bounces := request(b, exchange, "1")
		reply := one.want("1", false).ReplyTo
		again(b, exchange, "2", reply)
		again(b, exchange, "3", reply)
		two.want("2", false)
		two.want("3", false)
		again(b, exchange, "4", reply)
		wantBounce(t, bounces, "4", q)
	}},
	{"now or never: the consumer dies with it", func(t *testing.T, a, b *peer) {
		q, exchange := service(b)
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		bounces := request(b, exchange, "x")
		in.want("x", false)
		ok(t, a.Close(a.ctx))
		wantBounce(t, bounces, "x", q)
		b.wantState(q, 0, 0)
	}},
	{"now or never: given back, it bounces though a consumer has room", func(t *testing.T, a, b *peer) {
		q, exchange := service(a)
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		bounces := request(b, exchange, "x")
		ok(t, in.want("x", false).Nack(true))
		wantBounce(t, bounces, "x", q)
		in.empty()
	}},
	{"now or never: it has waited behind another", func(t *testing.T, a, b *peer) {
		q, exchange := service(a)
		a.send(q, "first")
		bounces := request(b, exchange, "x")
		a.wantState(q, 2, 0) // expiry is judged at the head only
		in := a.consume(conn.Consume{Queue: q, Prefetch: 10})
		in.want("first", false)
		wantBounce(t, bounces, "x", q)
		in.empty()
	}},
	{"now or never: unroutable is returned", func(t *testing.T, a, b *peer) {
		bounces := request(b, b.exchange(conn.Exchange{Kind: "fanout"}), "x")
		r := receive(t, b.returns, "return")
		if r.Code != 312 || r.Expiration != "0" || r.CorrelationID != "id-x" {
			t.Errorf("got %+v", *r)
		}
		bounces.empty()
	}},
	{"expires in the queue", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.publish(conn.Message{Key: q, Expiration: "1", Body: []byte("late")})
		a.wantState(q, 0, 0)
		b.publish(conn.Message{Key: q, Expiration: "600000", Body: []byte("in time")})
		a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("in time", false)
	}},
	{"expires at the head only", func(t *testing.T, a, b *peer) {
		dead := a.queue(conn.Queue{})
		q := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}})
		b.publish(conn.Message{Key: q, Expiration: "200", Body: []byte("long")})
		b.publish(conn.Message{Key: q, Expiration: "1", Body: []byte("short")})
		b.publish(conn.Message{Key: q, Expiration: "600000", Body: []byte("rest")})
		in := a.consume(conn.Consume{Queue: dead, Prefetch: 10})
		in.want("long", false)
		in.want("short", false)
		a.wantState(q, 1, 0)
	}},
	{"expires by the queue's rule", func(t *testing.T, a, b *peer) {
		dead := a.queue(conn.Queue{})
		q := a.queue(conn.Queue{Args: map[string]any{
			"x-message-ttl": int64(1), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
		}})
		b.publish(conn.Message{Key: q, Expiration: "600000", Body: []byte("1")})
		b.publish(conn.Message{Key: q, Body: []byte("2")})
		in := a.consume(conn.Consume{Queue: dead, Prefetch: 10})
		in.want("1", false)
		in.want("2", false)
	}},
	{"does not expire with a consumer", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		b.publish(conn.Message{Key: q, Expiration: "1", Body: []byte("x")})
		d := in.want("x", false)
		b.publish(conn.Message{Key: q, Expiration: "1", Body: []byte("late")})
		a.wantState(q, 0, 1)
		ok(t, d.Ack())
		b.send(q, "next")
		in.want("next", false)
	}},
}

package conformance

import (
	"reflect"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

func wantHeaders(t *testing.T, d *conn.Delivery, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if d.Headers[name] != value {
			t.Errorf("header %s is %v, want %v", name, d.Headers[name], value)
		}
	}
}

// wantDeath checks the one entry of the x-death header, which is a table: a map of some type.
func wantDeath(t *testing.T, d *conn.Delivery, want map[string]any) {
	t.Helper()
	deaths, _ := d.Headers["x-death"].([]any)
	if len(deaths) != 1 {
		t.Fatalf("came with x-death %v, want one entry", d.Headers["x-death"])
	}
	entry := reflect.ValueOf(deaths[0])
	for name, value := range want {
		got := entry.MapIndex(reflect.ValueOf(name))
		if !got.IsValid() || !reflect.DeepEqual(got.Interface(), value) {
			t.Errorf("%s is %v, want %v", name, got, value)
		}
	}
	if at := entry.MapIndex(reflect.ValueOf("time")); !at.IsValid() || time.Since(at.Interface().(time.Time)) > time.Hour {
		t.Errorf("time is %v", at)
	}
}

var deadLetters = []testCase{
	{"rejected without a dead-letter exchange is gone", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		a.send(q, "1", "2")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		ok(t, in.want("1", false).Nack(false))
		ok(t, in.want("2", false).Ack())
		a.wantState(q, 0, 1)
	}},
	{"rejected goes on with its keys", func(t *testing.T, a, b *peer) {
		q, key := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": ""}}), unique()
		a.bind(q, "amq.direct", key)
		reply := b.queue(conn.Queue{})
		cc := []any{reply}
		b.publish(conn.Message{
			Exchange: "amq.direct", Key: key, Expiration: "600000", CorrelationID: "c", Persistent: true,
			Headers: map[string]any{"CC": cc, "mine": int64(1)}, Body: []byte("x"),
		})
		ok(t, a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("x", false).Nack(false))
		d := b.consume(conn.Consume{Queue: reply, Prefetch: 1}).want("x", false)
		wantHeaders(t, d, map[string]any{
			"mine": int64(1), "x-first-death-reason": "rejected", "x-first-death-queue": q, "x-first-death-exchange": "amq.direct",
		})
		if d.Expiration != "" || d.Exchange != "" || d.Key != key || d.CorrelationID != "c" || !d.Persistent {
			t.Errorf("came as %+v", d.Message)
		}
		if cc, _ := d.Headers["CC"].([]any); len(cc) != 1 || cc[0] != reply {
			t.Errorf("came with CC %v", d.Headers["CC"])
		}
		wantDeath(t, d, map[string]any{
			"reason": "rejected", "queue": q, "exchange": "amq.direct", "count": int64(1),
			"routing-keys": []any{key, reply}, "original-expiration": "600000",
		})
	}},
	{"rejected goes to the queue's key", func(t *testing.T, a, b *peer) {
		dead, elsewhere := a.queue(conn.Queue{}), a.queue(conn.Queue{})
		key := unique()
		a.bind(dead, "amq.direct", key)
		q := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": "amq.direct", "x-dead-letter-routing-key": key}})
		a.publish(conn.Message{Key: q, Headers: map[string]any{"CC": []any{elsewhere}}, Body: []byte("x")})
		a.wantState(elsewhere, 1, 0)
		ok(t, a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("x", false).Nack(false))
		d := a.consume(conn.Consume{Queue: dead, Prefetch: 1}).want("x", false)
		wantHeaders(t, d, map[string]any{"x-first-death-queue": q, "x-first-death-exchange": "", "CC": nil})
		if d.Exchange != "amq.direct" || d.Key != key {
			t.Errorf("came through %q with %q", d.Exchange, d.Key)
		}
		a.wantState(elsewhere, 1, 0)
		d = a.consume(conn.Consume{Queue: elsewhere, Prefetch: 1}).want("x", false)
		if wantHeaders(t, d, map[string]any{"x-first-death-queue": nil, "x-death": nil}); d.Headers["CC"] == nil {
			t.Error("the other copy has changed")
		}
	}},
	{"the first death stays", func(t *testing.T, a, b *peer) {
		last := a.queue(conn.Queue{})
		second := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": last}})
		first := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second}})
		a.publish(conn.Message{Key: first, Expiration: "0", Body: []byte("x")})
		ok(t, a.consume(conn.Consume{Queue: second, Prefetch: 1}).want("x", false).Nack(false))
		d := a.consume(conn.Consume{Queue: last, Prefetch: 1}).want("x", false)
		wantHeaders(t, d, map[string]any{"x-first-death-reason": "expired", "x-first-death-queue": first})
		if deaths, _ := d.Headers["x-death"].([]any); len(deaths) != 2 {
			t.Errorf("came with x-death %v, want two deaths", d.Headers["x-death"])
		}
	}},
	{"comes behind what was published with it", func(t *testing.T, a, b *peer) {
		both := a.queue(conn.Queue{})
		q := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": both}})
		a.publish(conn.Message{Key: q, Expiration: "0", Headers: map[string]any{"CC": []any{both}}, Body: []byte("x")})
		a.wantState(both, 1, 0) // the other one was at the head, and has expired
		wantHeaders(t, a.consume(conn.Consume{Queue: both, Prefetch: 1}).want("x", false), map[string]any{"x-first-death-queue": q})
	}},
	{"dropped from a full queue", func(t *testing.T, a, b *peer) {
		dead := a.queue(conn.Queue{})
		q := a.queue(conn.Queue{Args: map[string]any{
			"x-max-length": int64(1), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
		}})
		a.send(q, "1", "2")
		d := a.consume(conn.Consume{Queue: dead, Prefetch: 1}).want("1", false)
		wantHeaders(t, d, map[string]any{"x-first-death-reason": "maxlen"})
		a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("2", false)
	}},
	{"given back to a full queue", func(t *testing.T, a, b *peer) {
		dead := a.queue(conn.Queue{})
		q := a.queue(conn.Queue{Args: map[string]any{
			"x-max-length": int64(1), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
		}})
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		a.send(q, "1", "2")
		d := in.want("1", false)
		ok(t, in.Cancel(a.ctx))
		ok(t, d.Nack(true))
		a.consume(conn.Consume{Queue: dead, Prefetch: 1}).want("1", false)
		a.wantState(q, 1, 0)
	}},
	{"expired in a cycle is dropped", func(t *testing.T, a, b *peer) {
		q, other := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": ""}}), a.queue(conn.Queue{})
		a.bind(q, "amq.direct", q)
		a.publish(conn.Message{Exchange: "amq.direct", Key: q, Expiration: "0", Headers: map[string]any{"CC": []any{other}}, Body: []byte("x")})
		a.consume(conn.Consume{Queue: other, Prefetch: 1}).want("x", false)
		a.wantState(q, 0, 0)
		a.send(q, "y")
		a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("y", false)
	}},
	{"rejected in a cycle goes round", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": ""}})
		a.send(q, "x")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		ok(t, in.want("x", false).Nack(false))
		ok(t, in.want("x", false).Nack(false))
		wantDeath(t, in.want("x", false), map[string]any{"reason": "rejected", "queue": q, "count": int64(2)})
	}},
	{"missing dead-letter exchange loses the message", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": unique()}})
		a.send(q, "1", "2")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		ok(t, in.want("1", false).Nack(false))
		in.want("2", false)
		a.wantAlive()
	}},
	{"quorum queue limits deliveries", func(t *testing.T, a, b *peer) {
		dead := a.queue(conn.Queue{})
		q := a.queue(conn.Queue{Durable: true, Args: map[string]any{
			"x-queue-type": "quorum", "x-delivery-limit": int64(1),
			"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
		}})
		b.send(q, "x")
		one := a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("x", false)
		wantHeaders(t, one, map[string]any{"x-delivery-count": nil})
		ok(t, a.Close(a.ctx))
		two := b.consume(conn.Consume{Queue: q, Prefetch: 1}).want("x", true)
		wantHeaders(t, two, map[string]any{"x-delivery-count": int64(1)})
		ok(t, b.Close(b.ctx))
		d := dial(t, a.connector).consume(conn.Consume{Queue: dead, Prefetch: 1}).want("x", false)
		wantHeaders(t, d, map[string]any{"x-first-death-reason": "delivery_limit"})
	}},
}

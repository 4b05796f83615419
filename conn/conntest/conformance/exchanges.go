package conformance

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// One for all cases.
var topic = conn.Exchange{Name: "conntest-topic", Kind: "topic"}

var exchanges = []testCase{
	{"default exchange routes by queue name", func(t *testing.T, a, b *peer) {
		q, other := a.queue(conn.Queue{}), a.queue(conn.Queue{})
		b.send(q, "to q")
		a.wantState(other, 0, 0)
		a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("to q", false)
	}},
	{"topic exchange matches words", func(t *testing.T, a, b *peer) {
		ok(t, a.DeclareExchange(a.ctx, topic))
		ok(t, b.DeclareExchange(b.ctx, topic))
		for _, c := range []struct {
			pattern, key string
			match        bool
		}{
			{"a.b", "a.b", true},
			{"a.b", "a.c", false},
			{"a.b", "a.b.c", false},
			{"a.*", "a.b", true},
			{"a.*", "a", false},
			{"a.*", "a.b.c", false},
			{"*.b", "a.b", true},
			{"a.#", "a", true},
			{"a.#", "a.b.c", true},
			{"#.c", "a.b.c", true},
			{"#.c", "a.b", false},
			{"a.#.c", "a.c", true},
			{"a.#.c", "a.b.b.c", true},
			{"#", "", true},
			{"*", "", true}, // an empty key is one empty word
		} {
			prefix := unique() + "."
			q := a.queue(conn.Queue{Exclusive: true})
			a.bind(q, topic.Name, prefix+c.pattern)
			a.publish(conn.Message{Exchange: topic.Name, Key: prefix + c.key, Mandatory: true})
			if got := len(a.returns) == 0; got != c.match {
				t.Errorf("pattern %q, key %q: match %v, want %v", c.pattern, c.key, got, c.match)
			}
			for len(a.returns) > 0 {
				<-a.returns
			}
		}
	}},
	{"direct exchange matches the whole key", func(t *testing.T, a, b *peer) {
		q, key := a.queue(conn.Queue{}), unique()
		a.bind(q, "amq.direct", key)
		a.bind(q, "amq.direct", key) // again: no second copy
		b.publish(conn.Message{Exchange: "amq.direct", Key: key + ".x", Body: []byte("no")})
		b.publish(conn.Message{Exchange: "amq.direct", Key: key, Body: []byte("yes")})
		a.wantState(q, 1, 0)
		d := a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("yes", false)
		if d.Exchange != "amq.direct" || d.Key != key {
			t.Errorf("came through %q with %q, want amq.direct, %q", d.Exchange, d.Key, key)
		}
	}},
	{"fanout exchange copies to all", func(t *testing.T, a, b *peer) {
		q1, q2, body := a.queue(conn.Queue{}), a.queue(conn.Queue{}), unique()
		a.bind(q1, "amq.fanout", "")
		a.bind(q2, "amq.fanout", "any")
		b.publish(conn.Message{Exchange: "amq.fanout", Key: "other", Body: []byte(body)})
		for _, q := range []string{q1, q2} {
			in := a.consume(conn.Consume{Queue: q, NoAck: true})
			for string(in.next().Body) != body { // other cases may use it too
			}
		}
	}},
	{"exchange with other properties", func(t *testing.T, a, b *peer) {
		ok(t, a.DeclareExchange(a.ctx, topic))
		other := topic
		other.Durable = true
		wantErr(t, "durable", a.DeclareExchange(a.ctx, other), conn.ErrPrecondition)
		other = topic
		other.Kind = "direct"
		wantErr(t, "kind", a.DeclareExchange(a.ctx, other), conn.ErrPrecondition)
		wantErr(t, "reserved name", a.DeclareExchange(a.ctx, conn.Exchange{Name: "amq.mine", Kind: "topic"}), conn.ErrRefused)
		ok(t, a.DeclareExchange(a.ctx, topic))
		a.wantAlive()
	}},
	{"deleted exchange takes nothing, and its queues stay", func(t *testing.T, a, b *peer) {
		q, exchange := service(b)
		ok(t, a.DeleteExchange(a.ctx, unique()))
		ok(t, a.DeleteExchange(a.ctx, exchange))
		b.wantState(q, 0, 0)
		ok(t, a.Publish(&conn.Message{Exchange: exchange}, nil))
		a.wantOver(conn.ErrNotFound)
		wantErr(t, "reserved", b.DeleteExchange(b.ctx, "amq.fanout"), conn.ErrRefused)
		b.wantAlive()
	}},
	{"exchange of an unknown kind ends the session", func(t *testing.T, a, b *peer) {
		if err := a.DeclareExchange(a.ctx, conn.Exchange{Name: unique(), Kind: "nonesuch"}); err == nil {
			t.Error("declared an exchange of an unknown kind")
		}
		a.wantOver(nil)
	}},
	{"binding what is not there", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		wantErr(t, "queue", a.BindQueue(a.ctx, unique(), "amq.direct", "k"), conn.ErrNotFound)
		wantErr(t, "exchange", a.BindQueue(a.ctx, q, unique(), "k"), conn.ErrNotFound)
		wantErr(t, "default exchange", a.BindQueue(a.ctx, q, "", "k"), conn.ErrRefused)
		own := a.queue(conn.Queue{Exclusive: true})
		wantErr(t, "queue of another", b.BindQueue(b.ctx, own, "amq.direct", "k"), conn.ErrLocked)
		wantErr(t, "neither", b.BindQueue(b.ctx, own, unique(), "k"), conn.ErrNotFound)
		a.wantAlive()
	}},
}

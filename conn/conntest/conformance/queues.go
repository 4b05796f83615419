package conformance

import (
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

var queues = []testCase{
	{"broker chooses a name", func(t *testing.T, a, b *peer) {
		q1, err := a.DeclareQueue(a.ctx, conn.Queue{Exclusive: true, AutoDelete: true})
		ok(t, err)
		q2, err := a.DeclareQueue(a.ctx, conn.Queue{Exclusive: true, AutoDelete: true})
		ok(t, err)
		if q1.Name == q2.Name || !strings.HasPrefix(q1.Name, "amq.gen-") {
			t.Errorf("names %q and %q", q1.Name, q2.Name)
		}
		_, err = a.DeclareQueue(a.ctx, conn.Queue{Name: "amq.gen-mine"})
		wantErr(t, "reserved name", err, conn.ErrRefused)
		b.send(q1.Name, "x")
		a.consume(conn.Consume{Queue: q1.Name, NoAck: true}).want("x", false)
	}},
	{"queue with other properties", func(t *testing.T, a, b *peer) {
		args := map[string]any{"x-dead-letter-exchange": "", "x-max-length": int64(10)}
		q := conn.Queue{Name: a.queue(conn.Queue{Args: args}), Args: args}
		a.send(q.Name, "x")
		info, err := b.DeclareQueue(b.ctx, q)
		ok(t, err)
		if want := (conn.QueueInfo{Name: q.Name, Messages: 1}); info != want {
			t.Errorf("got %+v, want %+v", info, want)
		}
		sameArgs := map[string]any{"x-dead-letter-exchange": "", "x-max-length": int32(10)}
		_, err = b.DeclareQueue(b.ctx, conn.Queue{Name: q.Name, Args: sameArgs})
		ok(t, err)
		for name, other := range map[string]conn.Queue{
			"durable":          {Name: q.Name, Args: args, Durable: true},
			"auto-delete":      {Name: q.Name, Args: args, AutoDelete: true},
			"argument missing": {Name: q.Name, Args: map[string]any{"x-dead-letter-exchange": ""}},
			"other argument":   {Name: q.Name, Args: map[string]any{"x-dead-letter-exchange": "", "x-max-length": int64(11)}},
			"bad argument":     {Name: unique(), Args: map[string]any{"x-max-length": int64(-1)}},
			"key, no exchange": {Name: unique(), Args: map[string]any{"x-dead-letter-routing-key": "k"}},
		} {
			_, err := b.DeclareQueue(b.ctx, other)
			wantErr(t, name, err, conn.ErrPrecondition)
		}
		_, err = b.DeclareQueue(b.ctx, conn.Queue{Name: q.Name, Args: args, Exclusive: true})
		wantErr(t, "exclusive", err, conn.ErrLocked)
		b.wantAlive()
	}},
	{"queue that is not there", func(t *testing.T, a, b *peer) {
		_, err := a.InspectQueue(a.ctx, unique())
		wantErr(t, "inspect", err, conn.ErrNotFound)
		_, err = a.Consume(a.ctx, conn.Consume{Queue: unique(), Prefetch: 1}, nil)
		wantErr(t, "consume", err, conn.ErrNotFound)
		ok(t, a.DeleteQueue(a.ctx, unique()))
		a.wantAlive()
	}},
	{"inspecting", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		a.send(q, "1", "2", "3")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 2})
		in.want("1", false)
		b.wantState(q, 1, 1) // what is unacknowledged is not ready
	}},
	{"exclusive queue is locked for others", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{Exclusive: true})
		_, err := b.DeclareQueue(b.ctx, conn.Queue{Name: q, Exclusive: true})
		wantErr(t, "declare", err, conn.ErrLocked)
		_, err = b.InspectQueue(b.ctx, q)
		wantErr(t, "inspect", err, conn.ErrLocked)
		_, err = b.Consume(b.ctx, conn.Consume{Queue: q, Prefetch: 1}, nil)
		wantErr(t, "consume", err, conn.ErrLocked)
		wantErr(t, "bind", b.BindQueue(b.ctx, q, "amq.direct", "k"), conn.ErrLocked)
		wantErr(t, "delete", b.DeleteQueue(b.ctx, q), conn.ErrLocked)
		b.wantAlive()
		_, err = a.DeclareQueue(a.ctx, conn.Queue{Name: q})
		wantErr(t, "owner, but not exclusive", err, conn.ErrLocked)
		b.send(q, "anybody may send to it")
		a.wantState(q, 1, 0)
	}},
	{"exclusive queue goes with its session", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{Exclusive: true})
		ok(t, a.Close(a.ctx))
		b.wantGone(q)
		b.publish(conn.Message{Key: q, Mandatory: true})
		receive(t, b.returns, "return")
	}},
	{"auto-delete queue goes with its last consumer", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{AutoDelete: true})
		a.wantState(q, 0, 0) // has not had one yet
		one, two := a.consume(conn.Consume{Queue: q, Prefetch: 1}), a.consume(conn.Consume{Queue: q, Prefetch: 1})
		ok(t, one.Cancel(a.ctx))
		a.wantState(q, 0, 1)
		ok(t, two.Cancel(a.ctx))
		b.wantGone(q)
		a.wantAlive()
	}},
	{"auto-delete queue goes with the session of its last consumer", func(t *testing.T, a, b *peer) {
		q := b.queue(conn.Queue{AutoDelete: true})
		b.send(q, "x")
		a.consume(conn.Consume{Queue: q, Prefetch: 1}).want("x", false)
		ok(t, a.Close(a.ctx))
		b.wantGone(q)
	}},
	{"deleting a queue deletes its messages and bindings", func(t *testing.T, a, b *peer) {
		q, key := a.queue(conn.Queue{}), unique()
		a.bind(q, "amq.direct", key)
		a.send(q, "x")
		ok(t, b.DeleteQueue(b.ctx, q))
		b.wantGone(q)
		_, err := a.DeclareQueue(a.ctx, conn.Queue{Name: q})
		ok(t, err)
		a.publish(conn.Message{Exchange: "amq.direct", Key: key, Mandatory: true})
		receive(t, a.returns, "return")
		a.wantState(q, 0, 0)
	}},
}

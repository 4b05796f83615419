package conformance

import (
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

var sessions = []testCase{
	{"all users of a connector share a session", func(t *testing.T, a, b *peer) {
		one, err := a.connector.Session(a.ctx)
		ok(t, err)
		two, err := a.connector.Session(a.ctx)
		ok(t, err)
		other, err := b.connector.Session(a.ctx)
		ok(t, err)
		if one != two || one == other {
			t.Error("sessions are shared by the wrong ones")
		}
		if one == a.Session {
			t.Error("a dialled session is shared")
		}
		ok(t, a.Close(a.ctx))
		if one.Err() != nil {
			t.Error("a dialled session took the shared one with it")
		}
	}},
	{"a shared session is replaced", func(t *testing.T, a, b *peer) {
		one, err := a.connector.Session(a.ctx)
		ok(t, err)
		q, err := one.DeclareQueue(a.ctx, conn.Queue{Exclusive: true})
		ok(t, err)
		ok(t, one.Close(a.ctx))
		two, err := a.connector.Session(a.ctx)
		ok(t, err)
		if one == two || two.Err() != nil {
			t.Fatal("the session that is over was handed out")
		}
		_, err = one.InspectQueue(a.ctx, q.Name)
		wantErr(t, "the old one", err, conn.ErrClosed)
		_, err = two.InspectQueue(a.ctx, q.Name)
		wantErr(t, "the new one", err, conn.ErrNotFound)
	}},
	{"a closed session does nothing", func(t *testing.T, a, b *peer) {
		q := b.queue(conn.Queue{})
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		if a.Err() != nil || a.Blocked() != nil {
			t.Errorf("alive with error %v, blocked %v", a.Err(), a.Blocked())
		}
		ok(t, a.Close(a.ctx))
		a.wantOver(conn.ErrClosed)
		ok(t, a.Close(a.ctx))

		err := a.Publish(&conn.Message{Key: q}, func(bool) { t.Error("confirmed") })
		wantErr(t, "publish", err, conn.ErrClosed)
		if !conn.NotSent(err) {
			t.Error("NotSent is false for it")
		}
		_, err = a.OpenPublisher(a.ctx, nil)
		wantErr(t, "open publisher", err, conn.ErrClosed)
		_, err = a.Consume(a.ctx, conn.Consume{Queue: q, Prefetch: 1}, nil)
		wantErr(t, "consume", err, conn.ErrClosed)
		_, err = a.DeclareQueue(a.ctx, conn.Queue{})
		wantErr(t, "declare queue", err, conn.ErrClosed)
		if want := "declare queue: "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("a queue that the broker names: got %v, want %q first", err, want)
		}
		wantErr(t, "declare exchange", a.DeclareExchange(a.ctx, topic), conn.ErrClosed)
		wantErr(t, "bind", a.BindQueue(a.ctx, q, "amq.direct", "k"), conn.ErrClosed)
		wantErr(t, "delete", a.DeleteQueue(a.ctx, q), conn.ErrClosed)
		wantErr(t, "cancel", in.Cancel(a.ctx), conn.ErrClosed)
		b.wantState(q, 0, 0)
	}},
	{"callbacks may use the session", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		replied := make(chan bool, 1)
		_, err := a.Consume(a.ctx, conn.Consume{Queue: q, Prefetch: 1}, func(d *conn.Delivery) {
			if _, err := a.InspectQueue(a.ctx, q); err != nil {
				t.Error(err)
			}
			if err := a.Publish(&conn.Message{Key: d.ReplyTo}, func(ok bool) {
				if err := d.Ack(); err != nil {
					t.Error(err)
				}
				replied <- ok
			}); err != nil {
				t.Error(err)
			}
		})
		ok(t, err)
		reply := b.queue(conn.Queue{Exclusive: true})
		b.publish(conn.Message{Key: q, ReplyTo: reply})
		receive(t, replied, "confirmation of the reply")
		b.consume(conn.Consume{Queue: reply, NoAck: true}).next()
		a.wantState(q, 0, 1)
	}},
}

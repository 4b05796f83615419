package conformance

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

var consuming = []testCase{
	{"first in, first out", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.send(q, "1", "2", "3")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		for _, body := range []string{"1", "2", "3"} {
			ok(t, in.want(body, false).Ack())
		}
		a.wantState(q, 0, 1)
	}},
	{"prefetch bounds what is outstanding, per consumer", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		one := a.consume(conn.Consume{Queue: q, Prefetch: 2})
		b.send(q, "1", "2", "3", "4", "5")
		first := one.want("1", false)
		one.want("2", false)
		a.wantState(q, 3, 1)
		two := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		two.want("3", false)
		a.wantState(q, 2, 2)
		ok(t, first.Ack())
		one.want("4", false)
		a.wantState(q, 1, 2)
		one.empty()
		two.empty()
	}},
	{"consumers take turns", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		one := a.consume(conn.Consume{Queue: q, Prefetch: 10})
		two := b.consume(conn.Consume{Queue: q, Prefetch: 10})
		b.send(q, "1", "2", "3", "4", "5", "6")
		for _, pair := range [][2]string{{"1", "2"}, {"3", "4"}, {"5", "6"}} {
			one.want(pair[0], false)
			two.want(pair[1], false)
		}
	}},
	{"without acknowledgement", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.send(q, "1", "2", "3")
		in := a.consume(conn.Consume{Queue: q, NoAck: true})
		for _, body := range []string{"1", "2", "3"} {
			ok(t, in.want(body, false).Ack())
		}
		ok(t, a.Close(a.ctx))
		b.wantState(q, 0, 0)
	}},
	{"bad prefetch", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		for _, n := range []int{-1, 0, 65536} {
			if _, err := a.Consume(a.ctx, conn.Consume{Queue: q, Prefetch: n}, nil); err == nil {
				t.Errorf("consumes with a prefetch of %d", n)
			}
		}
		a.wantAlive()
	}},
	{"exclusive consumer is the only one", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1, Exclusive: true})
		_, err := b.Consume(b.ctx, conn.Consume{Queue: q, Prefetch: 1}, nil)
		wantErr(t, "second", err, conn.ErrRefused)
		ok(t, in.Cancel(a.ctx))
		b.consume(conn.Consume{Queue: q, Prefetch: 1})
		_, err = a.Consume(a.ctx, conn.Consume{Queue: q, Prefetch: 1, Exclusive: true}, nil)
		wantErr(t, "exclusive as second", err, conn.ErrRefused)
		a.wantAlive()
		b.wantAlive()
	}},
	{"quorum queue knows no exclusive consumer", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{Durable: true, Args: map[string]any{"x-queue-type": "quorum"}})
		a.consume(conn.Consume{Queue: q, Prefetch: 1, Exclusive: true})
		b.consume(conn.Consume{Queue: q, Prefetch: 1, Exclusive: true})
		a.wantState(q, 0, 2)
	}},
	{"what is given back is first again, and marked", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.send(q, "1", "2", "3", "4")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 3})
		one, two, three := in.want("1", false), in.want("2", false), in.want("3", false)
		ok(t, in.Cancel(a.ctx))
		ok(t, two.Nack(true)) // in any order
		ok(t, one.Nack(true))
		ok(t, three.Nack(true))
		b.wantState(q, 4, 0)
		in = b.consume(conn.Consume{Queue: q, Prefetch: 10})
		in.want("1", true)
		in.want("2", true)
		in.want("3", true)
		in.want("4", false)
	}},
	{"what is given back comes to whoever has room, be it the same", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		b.send(q, "1", "2")
		ok(t, in.want("1", false).Nack(true))
		d := in.want("1", true)
		wantHeaders(t, d, map[string]any{"x-delivery-count": nil}) // of quorum queues only
		ok(t, d.Ack())
		in.want("2", false)
	}},
	{"the end of a session gives back", func(t *testing.T, a, b *peer) {
		q := b.queue(conn.Queue{})
		b.send(q, "1", "2", "3")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 2})
		one, two := in.want("1", false), in.want("2", false)
		ok(t, a.Close(a.ctx))
		wantErr(t, "ack", one.Ack(), conn.ErrClosed)
		wantErr(t, "nack", two.Nack(true), conn.ErrClosed)
		b.wantState(q, 3, 0)
		in = b.consume(conn.Consume{Queue: q, Prefetch: 10})
		in.want("1", true)
		in.want("2", true)
		in.want("3", false)
	}},
	{"a delivery is settled once", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.send(q, "x", "y")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 2})
		d := in.want("x", false)
		ok(t, d.Ack())
		wantErr(t, "second ack", d.Ack(), conn.ErrSettled)
		wantErr(t, "nack after ack", d.Nack(true), conn.ErrSettled)
		d = in.want("y", false)
		ok(t, d.Nack(false))
		wantErr(t, "ack after nack", d.Ack(), conn.ErrSettled)
		a.wantAlive()
		a.wantState(q, 0, 1)
	}},
	{"cancelled consumer can still acknowledge", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.send(q, "1", "2")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 1})
		d := in.want("1", false)
		ok(t, in.Cancel(a.ctx))
		ok(t, in.Cancel(a.ctx)) // again is no error
		ok(t, d.Ack())
		b.wantState(q, 1, 0)
		ok(t, b.Close(b.ctx))
		a.consume(conn.Consume{Queue: q, Prefetch: 2}).want("2", false)
		in.empty()
		a.wantState(q, 0, 1) // "1" did not come back
	}},
	{"a second cancel does nothing, even if the session is over", func(t *testing.T, a, b *peer) {
		in := a.consume(conn.Consume{Queue: a.queue(conn.Queue{}), Prefetch: 1})
		ok(t, in.Cancel(a.ctx))
		ok(t, a.Close(a.ctx))
		ok(t, in.Cancel(a.ctx))
	}},
	{"cancelling waits for the deliveries on their way", func(t *testing.T, a, b *peer) {
		q := a.queue(conn.Queue{})
		b.send(q, "1", "2", "3")
		entered, release, handled := make(chan bool, 3), make(chan bool), make(chan string, 3)
		c, err := a.Consume(a.ctx, conn.Consume{Queue: q, Prefetch: 3}, func(d *conn.Delivery) {
			entered <- true
			<-release
			handled <- string(d.Body)
		})
		ok(t, err)
		receive(t, entered, "delivery")
		b.wantState(q, 0, 1)
		cancelled := make(chan error, 1)
		go func() { cancelled <- c.Cancel(a.ctx) }()
		b.wantState(q, 0, 0)
		select {
		case <-cancelled:
			t.Error("cancelled, while a delivery is being handled")
		default:
		}
		close(release)
		ok(t, receive(t, cancelled, "end of the consumer"))
		if len(handled) != 3 {
			t.Errorf("%d deliveries handled, want 3", len(handled))
		}
	}},
	{"a handler that blocks holds up only its consumer", func(t *testing.T, a, b *peer) {
		q1, q2 := a.queue(conn.Queue{}), a.queue(conn.Queue{})
		entered, release := make(chan bool, 9), make(chan bool)
		defer close(release)
		_, err := a.Consume(a.ctx, conn.Consume{Queue: q1, NoAck: true}, func(*conn.Delivery) {
			entered <- true
			<-release
		})
		ok(t, err)
		in := a.consume(conn.Consume{Queue: q2, Prefetch: 1})
		a.send(q1, "1", "2", "3") // confirmed, too
		receive(t, entered, "delivery")
		a.send(q2, "x")
		ok(t, in.want("x", false).Ack())
		a.publish(conn.Message{Key: unique(), Mandatory: true})
		receive(t, a.returns, "return")
		if len(entered) != 0 {
			t.Error("two deliveries handled at a time")
		}
	}},
	{"deleting a queue ends the sessions that consume it", func(t *testing.T, a, b *peer) {
		q := b.queue(conn.Queue{})
		a.consume(conn.Consume{Queue: q, Prefetch: 1})
		ok(t, b.DeleteQueue(b.ctx, q))
		a.wantOver(nil)
		_, err := a.InspectQueue(a.ctx, q)
		wantErr(t, "inspect", err, conn.ErrClosed)
		b.wantAlive()
	}},
	{"settling what was in a deleted queue", func(t *testing.T, a, b *peer) {
		dead := b.queue(conn.Queue{})
		q := b.queue(conn.Queue{Args: map[string]any{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}})
		b.send(q, "1", "2", "3", "4")
		in := a.consume(conn.Consume{Queue: q, Prefetch: 4})
		one, two, three := in.want("1", false), in.want("2", false), in.want("3", false)
		in.want("4", false)
		ok(t, in.Cancel(a.ctx))
		ok(t, b.DeleteQueue(b.ctx, q))
		ok(t, one.Ack())
		ok(t, two.Nack(true))
		ok(t, three.Nack(false))
		a.wantAlive()
		ok(t, a.Close(a.ctx))
		b.wantState(dead, 0, 0)
	}},
}

package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

const patience = 20 * time.Second // much more than anything takes

// A peer is a session of a test with a publisher. Its methods fail the test where the session fails.
type peer struct {
	conn.Session
	conn.Publisher
	t         *testing.T
	ctx       context.Context
	connector conn.Connector
	returns   chan *conn.Return
}

func dial(t *testing.T, c conn.Connector) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	s, err := c.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close(ctx)
		cancel()
	})
	p := &peer{Session: s, t: t, ctx: ctx, connector: c, returns: make(chan *conn.Return, 100)}
	if p.Publisher, err = s.OpenPublisher(ctx, func(r *conn.Return) { p.returns <- r }); err != nil {
		t.Fatal(err)
	}
	return p
}

// Close ends the session.
func (p *peer) Close(ctx context.Context) error { return p.Session.Close(ctx) }

func unique() string { return "conntest-" + rand.Text() }

// queue declares a queue with a name of its own, to be deleted when the test ends.
func (p *peer) queue(q conn.Queue) string {
	p.t.Helper()
	q.Name = unique()
	if _, err := p.DeclareQueue(p.ctx, q); err != nil {
		p.t.Fatal(err)
	}
	if !q.Exclusive {
		p.t.Cleanup(func() { dial(p.t, p.connector).DeleteQueue(p.ctx, q.Name) })
	}
	return q.Name
}

// exchange declares an exchange with a name of its own, to be deleted when the test ends.
func (p *peer) exchange(e conn.Exchange) string {
	p.t.Helper()
	e.Name = unique()
	if err := p.DeclareExchange(p.ctx, e); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { dial(p.t, p.connector).DeleteExchange(p.ctx, e.Name) })
	return e.Name
}

func (p *peer) bind(queue, exchange, key string) {
	p.t.Helper()
	if err := p.BindQueue(p.ctx, queue, exchange, key); err != nil {
		p.t.Fatal(err)
	}
}

// publish publishes m and waits for the verdict.
func (p *peer) publish(m conn.Message) (ok bool) {
	p.t.Helper()
	verdict := make(chan bool, 1)
	if err := p.Publish(&m, func(ok bool) { verdict <- ok }); err != nil {
		p.t.Fatal(err)
	}
	return receive(p.t, verdict, "confirmation")
}

// send publishes bodies to a queue.
func (p *peer) send(queue string, bodies ...string) {
	p.t.Helper()
	for _, body := range bodies {
		if !p.publish(conn.Message{Key: queue, Mandatory: true, Body: []byte(body)}) {
			p.t.Fatalf("%q was refused", body)
		}
	}
}

// An inbox is what a consumer receives.
type inbox struct {
	conn.Consumer
	t   *testing.T
	all chan *conn.Delivery
}

func (p *peer) consume(c conn.Consume) *inbox {
	p.t.Helper()
	in := &inbox{t: p.t, all: make(chan *conn.Delivery, 100)}
	var err error
	if in.Consumer, err = p.Consume(p.ctx, c, func(d *conn.Delivery) { in.all <- d }); err != nil {
		p.t.Fatal(err)
	}
	return in
}

func (in *inbox) next() *conn.Delivery {
	in.t.Helper()
	return receive(in.t, in.all, "delivery")
}

// want receives one delivery and checks it.
func (in *inbox) want(body string, redelivered bool) *conn.Delivery {
	in.t.Helper()
	d := in.next()
	if string(d.Body) != body || d.Redelivered != redelivered {
		in.t.Fatalf("got %q, redelivered %v, want %q, %v", d.Body, d.Redelivered, body, redelivered)
	}
	return d
}

// empty checks that nothing was delivered that was not wanted.
func (in *inbox) empty() {
	in.t.Helper()
	select {
	case d := <-in.all:
		in.t.Fatalf("unwanted delivery of %q", d.Body)
	default:
	}
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// await polls a state that nothing announces.
func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !reached(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: still not so", what)
		}
	}
}

// wantState waits until a queue has as many ready messages and consumers.
func (p *peer) wantState(queue string, messages, consumers int) {
	p.t.Helper()
	var got conn.QueueInfo
	defer func() {
		if p.t.Failed() {
			p.t.Logf("queue: got %+v, want %d messages, %d consumers", got, messages, consumers)
		}
	}()
	await(p.t, "state of the queue", func() bool {
		var err error
		if got, err = p.InspectQueue(p.ctx, queue); err != nil {
			p.t.Fatal(err)
		}
		return got.Messages == messages && got.Consumers == consumers
	})
}

// wantGone waits until there is no such queue.
func (p *peer) wantGone(queue string) {
	p.t.Helper()
	await(p.t, "queue is gone", func() bool {
		_, err := p.InspectQueue(p.ctx, queue)
		return errors.Is(err, conn.ErrNotFound)
	})
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantAlive checks that the session still works.
func (p *peer) wantAlive() {
	p.t.Helper()
	if _, err := p.DeclareQueue(p.ctx, conn.Queue{Exclusive: true}); err != nil || p.Err() != nil {
		p.t.Fatalf("session is over: %v, %v", err, p.Err())
	}
}

// wantOver waits for the end of the session, and checks its cause unless that is nil.
func (p *peer) wantOver(cause error) {
	p.t.Helper()
	receive(p.t, p.Done(), "end of the session")
	if p.Err() == nil {
		p.t.Fatal("session is over without a cause")
	}
	if cause != nil {
		wantErr(p.t, "cause", p.Err(), cause)
	}
}

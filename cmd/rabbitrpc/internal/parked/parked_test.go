package parked_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/parked"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const (
	service = "math"
	queue   = "rabbitrpc.math.parked"
)

// A rig is a broker, and a connector of somebody else than the program that is tested.
type rig struct {
	*testing.T
	broker    *conntest.Broker
	conn      *conntest.Connector // of the program
	session   conn.Session        // of the other
	publisher conn.Publisher
}

func inBubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, broker: conntest.NewBroker()}
		defer r.broker.Close()
		r.conn = r.broker.Connector("program")
		var err error
		r.session, err = r.broker.Connector("other").Session(t.Context())
		r.must(err)
		r.publisher, err = r.session.OpenPublisher(t.Context(), func(m *conn.Return) { r.Errorf("returned: %+v", m) })
		r.must(err)
		f(r)
	})
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// declare makes the parked queue as a server does, with what else there is to its arguments.
func (r *rig) declare(args map[string]any) {
	r.Helper()
	all := map[string]any{"x-max-length": 10_000}
	for name, value := range args {
		all[name] = value
	}
	_, err := r.session.DeclareQueue(r.Context(), conn.Queue{Name: queue, Durable: true, Args: all})
	r.must(err)
}

// serve makes the queue of the service, for nobody.
func (r *rig) serve() {
	r.Helper()
	r.must(r.session.DeclareExchange(r.Context(), wire.RequestExchange(service)))
	_, err := r.session.DeclareQueue(r.Context(), conn.Queue{Name: wire.Queue(service), Durable: true})
	r.must(err)
	r.must(r.session.BindQueue(r.Context(), wire.Queue(service), wire.Exchange(service), ""))
}

// park puts requests with these call IDs into the queue.
func (r *rig) park(ids ...string) {
	r.Helper()
	for _, id := range ids {
		m := wire.EncodeRequest(&rpc.Request{
			Service: service, Method: "fib", ContentType: "application/json", Body: []byte(id), ID: id, Client: "billing", Attempt: 3,
		}, wire.Attempt{Mode: wire.Queued, ReplyTo: "amq.gen-1", Timeout: time.Second})
		r.must(r.publisher.Publish(wire.EncodeParked(m, service, wire.Parking{
			Reason: "it kills", Attempts: 5, At: time.Now(), Server: "host/1", User: "clerk",
		}), nil))
	}
	synctest.Wait()
}

func (r *rig) open(window int) *parked.Queue {
	r.Helper()
	q, err := parked.Open(r.Context(), r.conn, service, window)
	r.must(err)
	return q
}

// read returns the call IDs in a queue, and gives all back.
func (r *rig) read() (ids []string) {
	r.Helper()
	q := r.open(parked.MaxHeld)
	for m, err := range q.Requests(r.Context()) {
		r.must(err)
		ids = append(ids, m.CorrelationID)
	}
	r.must(q.Close(r.Context()))
	return ids
}

// take empties a queue.
func (r *rig) take(queue string) (got []conn.Message) {
	r.Helper()
	c, err := r.session.Consume(r.Context(), conn.Consume{Queue: queue, NoAck: true}, func(d *conn.Delivery) { got = append(got, d.Message) })
	r.must(err)
	synctest.Wait()
	r.must(c.Cancel(r.Context()))
	return got
}

func ids(messages []conn.Message) (ids []string) {
	for _, m := range messages {
		ids = append(ids, m.CorrelationID)
	}
	return ids
}

func (r *rig) want(what string, got []string, want ...string) {
	r.Helper()
	if !slices.Equal(got, want) {
		r.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// What is only read is in the queue as before, in its order, however often that happens, and whatever the queue counts.
func TestReadingChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		args map[string]any
	}{
		{"classic", nil},
		{"quorum", map[string]any{"x-queue-type": "quorum"}},
		{"quorum with the limit of RabbitMQ 4", map[string]any{"x-queue-type": "quorum", "x-delivery-limit": 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.declare(c.args)
				r.park("1", "2", "3", "4")
				before := r.bodies()
				for range 50 {
					r.want("all", r.read(), "1", "2", "3", "4")
				}
				for range 50 {
					q := r.open(4)
					for m, err := range q.Requests(r.Context()) {
						r.must(err)
						r.want("the first", []string{m.CorrelationID}, "1")
						break // those on their way go back as well
					}
					r.must(q.Close(r.Context()))
				}
				q := r.open(2)
				for m, err := range q.Requests(r.Context()) {
					r.must(err)
					if m.CorrelationID != "1" || q.Len() != 4 || m.Reason != "it kills" || m.User != "clerk" || m.Attempts != 5 {
						r.Errorf("got %+v of %d", m, q.Len())
					}
					break
				}
				r.must(q.Close(r.Context()))
				r.want("in the end", r.read(), "1", "2", "3", "4")
				if after := r.bodies(); fmt.Sprint(after) != fmt.Sprint(before) {
					r.Errorf("got\n%v, want\n%v", after, before)
				}
			})
		})
	}
}

// bodies is all that is parked, without what the broker adds.
func (r *rig) bodies() (all []conn.Message) {
	r.Helper()
	q := r.open(parked.MaxHeld)
	for m, err := range q.Requests(r.Context()) {
		r.must(err)
		delete(m.Headers, "x-delivery-count")
		all = append(all, m.Message)
	}
	r.must(q.Close(r.Context()))
	return all
}

// A part that is read more often than the rest loses its place, and nothing else.
func TestReadingAPartForEver(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(map[string]any{"x-queue-type": "quorum", "x-delivery-limit": 20})
		r.park("1", "2", "3", "4", "5")
		for range 200 {
			q := r.open(2)
			n := 0
			for _, err := range q.Requests(r.Context()) {
				r.must(err)
				n++
			}
			r.must(q.Close(r.Context()))
			if n != 2 {
				r.Fatalf("read %d, want 2", n)
			}
		}
		got := r.read()
		slices.Sort(got)
		r.want("all", got, "1", "2", "3", "4", "5")
	})
}

func TestNothingParked(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.want("no queue", r.read())
		r.declare(nil)
		r.want("empty queue", r.read())
	})
}

// While one program reads, another is told so: each would see a part.
func TestOneReader(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.park("1", "2", "3")
		q := r.open(2)
		for window := 1; window <= 2; window++ {
			if _, err := parked.Open(r.Context(), r.conn, service, window); !errors.Is(err, parked.ErrBusy) {
				r.Errorf("got %v, want that it is busy", err)
			}
		}
		_, err := r.session.Consume(r.Context(), conn.Consume{Queue: queue, Prefetch: 1}, func(*conn.Delivery) {})
		if !errors.Is(err, conn.ErrRefused) {
			r.Errorf("one that does not look first: got %v, want a refusal", err)
		}
		r.must(q.Close(r.Context()))
		q = r.open(3) // has all
		if _, err := parked.Open(r.Context(), r.conn, service, 1); !errors.Is(err, parked.ErrBusy) {
			r.Errorf("got %v, want that it is busy", err)
		}
		r.must(q.Close(r.Context()))
		r.want("afterwards", r.read(), "1", "2", "3")
	})
}

// What is gone meanwhile is not waited for.
func TestGoneMeanwhile(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(map[string]any{"x-message-ttl": 1000})
		r.park("1", "2", "3")
		q := r.open(1)
		var got []string
		for m, err := range q.Requests(r.Context()) {
			r.must(err)
			got = append(got, m.CorrelationID)
			time.Sleep(2 * time.Second)
			r.must(q.Drop(m))
		}
		r.must(q.Close(r.Context()))
		r.want("read", got, "1")
	})
}

func TestRequeueAndDrop(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.serve()
		r.park("1", "2", "3", "4", "5")
		q := r.open(parked.MaxHeld)
		var new string
		for m, err := range q.Requests(r.Context()) {
			r.must(err)
			switch m.CorrelationID {
			case "2":
				new, err = q.Requeue(r.Context(), m)
				r.must(err)
			case "4":
				r.must(q.Drop(m))
			}
		}
		r.must(q.Close(r.Context()))
		r.want("left", r.read(), "1", "3", "5")
		got := r.take(wire.Queue(service))
		r.want("requeued", ids(got), new)
		if m := got[0]; string(m.Body) != "2" || m.Headers["parked-call"] != "2" || !m.Persistent || m.Expiration != "" || m.Headers["CC"] != nil {
			r.Errorf("requeued %+v", m)
		}
	})
}

// All of a queue go through a small window. What is parked meanwhile stays.
func TestRequeueAll(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.serve()
		r.park("1", "2", "3", "4", "5")
		q := r.open(2)
		for m, err := range q.Requests(r.Context()) {
			r.must(err)
			_, err = q.Requeue(r.Context(), m)
			r.must(err)
			r.park("again " + m.CorrelationID)
		}
		r.must(q.Close(r.Context()))
		r.want("left", r.read(), "again 1", "again 2", "again 3", "again 4", "again 5")
		if got := r.take(wire.Queue(service)); len(got) != 5 {
			r.Errorf("%d requeued, want 5", len(got))
		}
	})
}

// requeue requeues the first request, and closes.
func (r *rig) requeue() (id string, err error) {
	r.Helper()
	q := r.open(parked.MaxHeld)
	for m, e := range q.Requests(r.Context()) {
		r.must(e)
		id, err = q.Requeue(r.Context(), m)
		break
	}
	return id, errors.Join(err, q.Close(r.Context()))
}

// Whatever fails, the request is somewhere. Where it is twice, it is known as one call.
func TestRequeueFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  conntest.Fault
		doubt  bool
		queued int
	}{
		{"lost before the publish arrives", conntest.LoseBeforePublish(1), true, 0},
		{"lost after the publish has arrived", conntest.LoseAfterPublish(1), true, 1},
		{"publish fails halfway", conntest.FailPublish(1), true, 1},
		{"publish is refused", conntest.RefusePublish(1), false, 0},
		{"confirmation is lost", conntest.DropConfirm(1), true, 1},
		{"acknowledgement is lost", conntest.LoseAck(1), true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.declare(nil)
				r.serve()
				r.park("1", "2")
				struck := r.conn.Fail(c.fault)
				q := r.open(parked.MaxHeld)
				for m, err := range q.Requests(r.Context()) {
					r.must(err)
					ctx, cancel := context.WithTimeout(r.Context(), time.Second)
					_, err = q.Requeue(ctx, m)
					cancel()
					err = errors.Join(err, q.Close(r.Context()))
					if err == nil || errors.Is(err, parked.ErrInDoubt) != c.doubt {
						r.Errorf("got %v, want doubt: %v", err, c.doubt)
					}
					break
				}
				<-struck
				r.want("parked still", r.read(), "1", "2")
				first := ids(r.take(wire.Queue(service)))
				if len(first) != c.queued {
					r.Errorf("requeued %q, want %d", first, c.queued)
				}
				id, err := r.requeue()
				r.must(err)
				if c.queued > 0 && first[0] != id {
					r.Errorf("the second is call %s, the first %s: it would run twice", id, first[0])
				}
				r.want("then", r.read(), "2")
			})
		})
	}
}

// losing is a connector whose session is lost as soon as a message is confirmed.
type losing struct{ *conntest.Connector }

type losingSession struct {
	conn.Session
	c *conntest.Connector
}

type losingPublisher struct {
	conn.Publisher
	c *conntest.Connector
}

func (l losing) Session(ctx context.Context) (conn.Session, error) {
	s, err := l.Connector.Session(ctx)
	return losingSession{s, l.Connector}, err
}

func (s losingSession) OpenPublisher(ctx context.Context, onReturn func(*conn.Return)) (conn.Publisher, error) {
	p, err := s.Session.OpenPublisher(ctx, onReturn)
	return losingPublisher{p, s.c}, err
}

func (p losingPublisher) Publish(m *conn.Message, confirmed func(bool)) error {
	return p.Publisher.Publish(m, func(ok bool) {
		confirmed(ok)
		p.c.Lose()
	})
}

// The program dies between the confirmation and the acknowledgement, or just after that.
func TestLostAfterConfirmation(t *testing.T) {
	for range 50 { // it is chance which
		inBubble(t, func(r *rig) {
			r.declare(nil)
			r.serve()
			r.park("1", "2")
			q, err := parked.Open(r.Context(), losing{r.conn}, service, 2)
			r.must(err)
			for m, e := range q.Requests(r.Context()) {
				r.must(e)
				if _, err = q.Requeue(r.Context(), m); err != nil && !errors.Is(err, parked.ErrInDoubt) {
					r.Errorf("got %v, want doubt", err)
				}
				break
			}
			if err = errors.Join(err, q.Close(r.Context())); err != nil && !errors.Is(err, parked.ErrInDoubt) {
				r.Errorf("got %v, want doubt", err)
			}
			synctest.Wait() // by now it is lost
			left := r.read()
			if slices.Contains(left, "1") && err == nil || !slices.Contains(left, "2") {
				r.Errorf("got %v with %q parked", err, left)
			}
			if got := r.take(wire.Queue(service)); len(got) != 1 {
				r.Errorf("%d requeued, want 1", len(got))
			}
		})
	}
}

func TestRequeueToNobody(t *testing.T) {
	for _, c := range []struct {
		name string
		made func(*rig)
	}{
		{"no exchange", func(*rig) {}},
		{"no queue", func(r *rig) {
			r.serve()
			r.must(r.session.DeleteQueue(r.Context(), wire.Queue(service)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.declare(nil)
				c.made(r)
				r.park("1", "2")
				if _, err := r.requeue(); !errors.Is(err, client.ErrNoServer) || errors.Is(err, parked.ErrInDoubt) {
					r.Errorf("got %v, want that nobody serves it", err)
				}
				r.want("parked still", r.read(), "1", "2")
			})
		})
	}
}

// A call that a server has parked twice, as its acknowledgement was lost, is one call.
func TestParkedTwice(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.serve()
		r.park("1", "1", "2")
		q := r.open(parked.MaxHeld)
		for m, err := range q.Requests(r.Context()) {
			r.must(err)
			_, err = q.Requeue(r.Context(), m)
			r.must(err)
		}
		r.must(q.Close(r.Context()))
		if got := r.take(wire.Queue(service)); len(got) != 2 || string(got[0].Body) != "1" || string(got[1].Body) != "2" {
			r.Errorf("got %q, want two", ids(got))
		}
		r.want("left", r.read())
	})
}

// What no server has parked is not run by anybody.
func TestStranger(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.serve()
		r.must(r.publisher.Publish(&conn.Message{Key: queue, CorrelationID: "1", Type: "fib"}, nil))
		synctest.Wait()
		if _, err := r.requeue(); err == nil || !strings.Contains(err.Error(), "no server has put it there") {
			r.Errorf("got %v", err)
		}
		r.want("parked still", r.read(), "1")
	})
}

// A drop is done once Close has said so.
func TestDropFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.park("1", "2")
		struck := r.conn.Fail(conntest.LoseAck(1))
		q := r.open(parked.MaxHeld)
		for m, err := range q.Requests(r.Context()) {
			r.must(err)
			r.must(q.Drop(m))
			break
		}
		<-struck
		if err := q.Close(r.Context()); !errors.Is(err, parked.ErrInDoubt) || !errors.Is(err, conn.ErrNotConnected) {
			r.Errorf("got %v, want doubt", err)
		}
		r.want("parked still", r.read(), "1", "2")
	})
}

// The session ends while requests are read: they are where they were.
func TestSessionLost(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.park("1", "2", "3")
		q := r.open(1)
		for m, err := range q.Requests(r.Context()) {
			if m == nil {
				if !errors.Is(err, conn.ErrNotConnected) {
					r.Errorf("got %v", err)
				}
				continue
			}
			r.conn.Lose()
			if err := q.Drop(m); !errors.Is(err, conn.ErrNotConnected) {
				r.Errorf("drop: got %v", err)
			}
		}
		q.Close(r.Context())
		r.want("afterwards", r.read(), "1", "2", "3")
	})
}

// What needs to be written anew and cannot be stays as it is.
func TestRenewFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  conntest.Fault
		parked []string
	}{
		{"refused", conntest.RefusePublish(1), []string{"1", "2"}},
		{"lost before", conntest.LoseBeforePublish(2), []string{"1", "2"}},
		{"lost after", conntest.LoseAfterPublish(2), []string{"1", "2", "2"}},
		{"acknowledgement lost", conntest.LoseAck(1), []string{"1", "1", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.declare(map[string]any{"x-queue-type": "quorum", "x-delivery-limit": 20})
				r.park("1", "2")
				struck := r.conn.Fail(c.fault)
				var err error
				for range 12 {
					q := r.open(parked.MaxHeld)
					for _, err := range q.Requests(r.Context()) {
						r.must(err)
					}
					if err = q.Close(r.Context()); err != nil {
						break
					}
				}
				<-struck
				if err == nil {
					r.Error("no error")
				}
				got := r.read()
				slices.Sort(got)
				r.want("parked", got, c.parked...)
			})
		})
	}
}

func TestBlocked(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.serve()
		r.park("1")
		r.broker.Block()
		if _, err := r.requeue(); !errors.Is(err, conn.ErrBlocked) || errors.Is(err, parked.ErrInDoubt) {
			r.Errorf("got %v, want that the broker is blocked", err)
		}
		r.want("parked still", r.read(), "1")
	})
}

// TestBlockedOnTheWay: a broker that has gone into an alarm since the publish confirms nothing, and is named.
func TestBlockedOnTheWay(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.declare(nil)
		r.serve()
		r.park("1")
		struck := r.conn.Fail(conntest.DropConfirm(1))
		q := r.open(1)
		for m, err := range q.Requests(r.Context()) {
			r.must(err)
			go func() { <-struck; r.broker.Block() }()
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			_, err = q.Requeue(ctx, m)
			cancel()
			if !errors.Is(err, parked.ErrInDoubt) || !errors.Is(err, conn.ErrBlocked) {
				r.Errorf("got %v, want doubt, since the broker is in an alarm", err)
			}
		}
		r.broker.Unblock()
		_ = q.Close(r.Context())
	})
}

// The whole way: a request kills its servers until one parks it, is looked at, and runs once the service is mended.
func TestPoisonIsRunAfterAll(t *testing.T) {
	inBubble(t, func(r *rig) {
		at := r.broker.Connector("server")
		poison := true
		var calls []rpc.Request
		s, err := server.New(at, service, server.WithQuorumQueue(3), server.WithStore(nil), server.WithLogger(slog.New(slog.DiscardHandler)))
		r.must(err)
		fib := rpc.Method[int, int]{Service: service, Name: "fib"}
		server.Handle(s, fib, func(ctx context.Context, n int) (int, error) {
			calls = append(calls, *rpc.RequestOf(ctx))
			if poison {
				at.Lose() // the end of the process, as far as the broker can see
			}
			return n, nil
		})
		ctx, stop := context.WithCancel(r.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- s.Run(ctx) }()
		<-s.Ready()
		c, err := client.New(r.broker.Connector("caller"), client.WithName("billing"))
		r.must(err)
		_, err = client.Call(r.Context(), c, fib, 30, client.Durable(), client.WithHeader("tenant", "blue"))
		if rpc.CodeOf(err) != rpc.Internal {
			r.Fatalf("got %v, want that it was given up", err)
		}
		r.must(c.Close(r.Context()))
		first, n := calls[0].ID, len(calls)
		r.want("parked", r.read(), first)

		poison = false
		id, err := r.requeue()
		r.must(err)
		synctest.Wait()
		if len(calls) != n+1 {
			r.Fatalf("%d runs, want one more than %d", len(calls), n)
		}
		got := calls[n]
		if got.ID != id || id == first || got.Header["parked-call"] != first || got.Header["tenant"] != "blue" ||
			got.Client != "rabbitrpc parked" || got.Attempt != 1 || string(got.Body) != "30" || got.Redelivered {
			r.Errorf("it ran as %+v", got)
		}
		r.want("left", r.read())
		if s := s.Stats(); s.Dropped+s.Rejected+s.Expired != 0 || s.Unroutable != 1 {
			r.Errorf("the server has %+v", s)
		}
		stop()
		r.must(<-stopped)
	})
}

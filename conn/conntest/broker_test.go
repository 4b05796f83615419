package conntest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
)

func TestStopAndStart(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a := b.Connector("a")
		s := session(t, a)
		for _, q := range []conn.Queue{{Name: "durable", Durable: true}, {Name: "transient"}, {Name: "own", Exclusive: true, Durable: true}} {
			declare(t, a, q)
		}
		for _, e := range []conn.Exchange{{Name: "kept", Kind: "fanout", Durable: true}, {Name: "gone", Kind: "fanout"}} {
			if err := s.DeclareExchange(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			s.BindQueue(t.Context(), "durable", e.Name, "")
			s.BindQueue(t.Context(), "transient", e.Name, "")
		}
		p := publisher(t, s)
		for _, q := range []string{"durable", "transient"} {
			p.Publish(&conn.Message{Key: q}, nil)
			p.Publish(&conn.Message{Key: q, Persistent: true}, nil)
			p.Publish(&conn.Message{Key: q, Persistent: true}, nil)
		}
		consume(t, s, "durable", 3, func(*conn.Delivery) {})
		synctest.Wait()

		declare(t, a, conn.Queue{Name: "quorum", Durable: true, Args: map[string]any{"x-queue-type": "quorum"}})
		p.Publish(&conn.Message{Key: "quorum"}, nil) // everything in it is on disk

		b.Stop()
		b.Stop()
		var e *conn.Error
		if !errors.As(s.Err(), &e) || e.Code != 320 {
			t.Errorf("cause is %v, want 320", s.Err())
		}
		if err := p.Publish(&conn.Message{Key: "x"}, nil); !errors.Is(err, conn.ErrClosed) {
			t.Errorf("publish: %v, want ErrClosed", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if _, err := a.Dial(ctx); !errors.Is(err, conn.ErrNotConnected) || time.Since(began) != 0 {
			t.Errorf("dial: %v after %v, want ErrNotConnected at once", err, time.Since(began))
		}
		_, err := a.Session(ctx)
		if !errors.Is(err, conn.ErrNotConnected) || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("session: %v after %v, want ErrNotConnected after a minute", err, time.Since(began))
		}
		time.AfterFunc(time.Hour, b.Start)
		if s := session(t, a); s.Err() != nil || time.Since(began) != time.Hour+time.Minute {
			t.Error("session is not the one after the start")
		}
		b.Start()
		want := []conntest.QueueState{{Name: "durable", Ready: 2}, {Name: "quorum", Ready: 1}}
		if got := b.Queues(); !slices.Equal(got, want) {
			t.Errorf("queues are %+v, want %+v", got, want)
		}
		p = publisher(t, session(t, a))
		p.Publish(&conn.Message{Exchange: "kept"}, nil)
		if got := state(t, b, "durable").Ready; got != 3 {
			t.Errorf("%d messages, want 3: the binding is durable", got)
		}
		p.Publish(&conn.Message{Exchange: "gone"}, nil)
		err = p.Publish(&conn.Message{}, nil)
		if !errors.Is(err, conn.ErrClosed) {
			t.Errorf("publish: %v, but the exchange is gone", err)
		}
		if errors.Is(err, conn.ErrNotFound) {
			t.Errorf("publish: %v, which passes for an answer to this operation", err)
		}
	})
}

// Nothing expires while the broker is down, but its clock goes on.
func TestExpiryAcrossRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a := b.Connector("a")
		declare(t, a, conn.Queue{Name: "q", Durable: true})
		p := publisher(t, session(t, a))
		p.Publish(&conn.Message{Key: "q", Persistent: true, Expiration: "1000"}, nil)
		p.Publish(&conn.Message{Key: "q", Persistent: true, Expiration: "3000"}, nil)
		b.Stop()
		time.Sleep(2 * time.Second)
		if got := state(t, b, "q").Ready; got != 2 {
			t.Errorf("%d messages while down, want 2", got)
		}
		b.Start()
		if got := state(t, b, "q").Ready; got != 1 {
			t.Errorf("%d messages, want 1", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := state(t, b, "q").Ready; got != 0 {
			t.Errorf("%d messages, want 0", got)
		}
	})
}

// A session that ends gives nothing back to a queue that is gone, and nothing to its dead-letter address.
func TestGiveBackToDeletedQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a, other := b.Connector("a"), b.Connector("other")
		declare(t, other, conn.Queue{Name: "dead"})
		declare(t, other, conn.Queue{Name: "q", Durable: true, Args: map[string]any{
			"x-queue-type": "quorum", "x-delivery-limit": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead",
		}})
		send(t, other, "q", "x")
		consume(t, session(t, a), "q", 1, func(*conn.Delivery) {})
		if err := session(t, other).DeleteQueue(t.Context(), "q"); err != nil {
			t.Fatal(err)
		}
		if got := state(t, b, "dead").Ready; got != 0 {
			t.Errorf("%d dead letters, want 0", got)
		}
		if _, ok := b.Queue("q"); ok {
			t.Error("the queue is still there")
		}
	})
}

func TestBlock(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a := b.Connector("a")
		s := session(t, a)
		p := publisher(t, s)
		declare(t, a, conn.Queue{Name: "q"})
		send(t, a, "q", "x")

		b.Block()
		b.Block()
		blocked := s.Blocked()
		if blocked == nil {
			t.Fatal("not blocked")
		}
		err := p.Publish(&conn.Message{Key: "q"}, func(bool) { t.Error("confirmed") })
		if !errors.Is(err, conn.ErrBlocked) || !conn.NotSent(err) {
			t.Errorf("publish: %v, want ErrBlocked", err)
		}
		acked := false
		consume(t, s, "q", 1, func(d *conn.Delivery) { acked = d.Ack() == nil })
		synctest.Wait()
		if !acked {
			t.Error("consuming is blocked too")
		}
		late, err := a.Dial(t.Context())
		if err != nil || late.Blocked() == nil {
			t.Errorf("new session: %v, not blocked", err)
		}
		ended := late.Blocked()
		late.Close(t.Context())
		<-ended
		if has(blocked) {
			t.Error("freed by the end of another session")
		}

		time.AfterFunc(time.Second, b.Unblock)
		<-blocked
		if s.Blocked() != nil {
			t.Error("still blocked")
		}
		if err := p.Publish(&conn.Message{Key: "q"}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestVirtualTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a := b.Connector("a")
		declare(t, a, conn.Queue{Name: "dead"})
		declare(t, a, conn.Queue{Name: "q", Args: map[string]any{
			"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead",
		}})
		began := time.Now()
		var expired []time.Duration
		consume(t, session(t, a), "dead", 9, func(d *conn.Delivery) { expired = append(expired, time.Since(began)) })
		p := publisher(t, session(t, a))
		for _, ms := range []string{"3600000", "1", "7200000"} {
			p.Publish(&conn.Message{Key: "q", Expiration: ms}, nil)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if want := []time.Duration{time.Hour, time.Hour, 2 * time.Hour}; !slices.Equal(expired, want) {
			t.Errorf("expired after %v, want %v", expired, want)
		}
	})
}

func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		a, other := b.Connector("a"), b.Connector("other")
		declare(t, a, conn.Queue{Name: "q"})
		send(t, a, "q", "x", "y")
		release := make(chan bool)
		s := session(t, other)
		consume(t, s, "q", 1, func(*conn.Delivery) { <-release })
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := other.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v, though a callback still runs", err)
		}
		close(release)
		if err := other.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if !errors.Is(s.Err(), conn.ErrClosed) {
			t.Errorf("cause is %v", s.Err())
		}
		if _, err := other.Session(t.Context()); !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("session of a closed connector: %v", err)
		}
		if got, want := state(t, b, "q"), (conntest.QueueState{Name: "q", Ready: 2}); got != want {
			t.Errorf("queue is %+v, want %+v", got, want)
		}

		b.Stop()
		go func() {
			if _, err := a.Session(context.Background()); !errors.Is(err, conn.ErrNotConnected) {
				t.Errorf("session of a closed broker: %v", err)
			}
		}()
		synctest.Wait()
		b.Close()
		b.Start()
		if _, err := a.Dial(t.Context()); !errors.Is(err, conn.ErrNotConnected) || len(b.Queues()) != 0 {
			t.Errorf("dial of a closed broker: %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *conntest.Broker) {
		guest, alice := b.Connector("a"), b.Connector("b", conntest.WithUser("alice"), conntest.WithoutInspect())
		declare(t, alice, conn.Queue{Name: "q"})
		for c, user := range map[*conntest.Connector]string{guest: "guest", alice: "alice"} {
			publisher(t, session(t, c)).Publish(&conn.Message{Key: "q", UserID: user}, nil)
		}
		if got := state(t, b, "q").Ready; got != 2 {
			t.Errorf("%d messages arrived, want 2", got)
		}
		_, err := session(t, alice).InspectQueue(t.Context(), "q")
		if !errors.Is(err, conn.ErrRefused) || session(t, alice).Err() != nil {
			t.Errorf("inspect: %v, want ErrRefused", err)
		}
	})
}

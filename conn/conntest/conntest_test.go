package conntest_test

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) (a, b conn.Connector) {
		broker := conntest.NewBroker()
		t.Cleanup(broker.Close)
		return broker.Connector("a"), broker.Connector("b")
	})
}

// inBubble runs f with a broker in virtual time. The bubble reports what is left running.
func inBubble(t *testing.T, f func(t *testing.T, b *conntest.Broker)) {
	synctest.Test(t, func(t *testing.T) {
		b := conntest.NewBroker()
		defer b.Close()
		f(t, b)
	})
}

func session(t *testing.T, c conn.Connector) conn.Session {
	t.Helper()
	s, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publisher(t *testing.T, s conn.Session) conn.Publisher {
	t.Helper()
	p, err := s.OpenPublisher(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func declare(t *testing.T, c conn.Connector, q conn.Queue) {
	t.Helper()
	if _, err := session(t, c).DeclareQueue(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, c conn.Connector, queue string, bodies ...string) {
	t.Helper()
	p := publisher(t, session(t, c))
	for _, body := range bodies {
		if err := p.Publish(&conn.Message{Key: queue, Body: []byte(body)}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func consume(t *testing.T, s conn.Session, queue string, prefetch int, handle func(*conn.Delivery)) {
	t.Helper()
	if _, err := s.Consume(t.Context(), conn.Consume{Queue: queue, Prefetch: prefetch}, handle); err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, b *conntest.Broker, queue string) conntest.QueueState {
	t.Helper()
	s, ok := b.Queue(queue)
	if !ok {
		t.Fatalf("no queue %s", queue)
	}
	return s
}

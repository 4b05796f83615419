package topology

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// What RabbitMQ says of a difference, from 3.10 to 4.x.
func TestReadDifference(t *testing.T) {
	const about = "PRECONDITION_FAILED - inequivalent arg '"
	for _, tt := range []struct {
		reason string
		want   Difference
		ok     bool
	}{
		{
			about + "x-max-length' for queue 'q' in vhost '/': received the value '7' of type 'signedint' but current is none",
			Difference{"x-max-length", int64(7), nil}, true,
		},
		{
			about + "x-queue-type' for queue 'q' in vhost '/': received none but current is the value 'quorum' of type 'longstr'",
			Difference{"x-queue-type", nil, "quorum"}, true,
		},
		{
			about + "x-queue-type' for queue 'q' in vhost '/': received 'classic' but current is 'quorum'",
			Difference{"x-queue-type", "classic", "quorum"}, true,
		},
		{
			about + "x-dead-letter-exchange' for queue 'q' in vhost 'a: b': received the value '' of type 'longstr' but current is the value '12' of type 'longstr'",
			Difference{"x-dead-letter-exchange", "", "12"}, true,
		},
		{about + "durable' for queue 'q' in vhost '/': received 'true' but current is 'false'", Difference{"durable", true, false}, true},
		{about + "type' for exchange 'x' in vhost '/': received 'topic' but current is 'direct'", Difference{"type", "topic", "direct"}, true},
		{about + "x-long' for queue 'q' in vhost '/': received the value 'and then it was cut o", Difference{}, false},
		{"PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q'", Difference{}, false},
	} {
		got, ok := readDifference(&conn.Error{Code: 406, Reason: tt.reason})
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s\ngot %#v, %v, want %#v, %v", tt.reason, got, ok, tt.want, tt.ok)
		}
	}
	if _, ok := readDifference(errors.New("lost")); ok {
		t.Error("a lost connection is no difference")
	}
}

func TestPing(t *testing.T) {
	answer := func(context.Context, int) (int, error) { return 0, nil }
	for _, tt := range []struct {
		name string
		set  func(t *testing.T, b *conntest.Broker, s conn.Session)
		want Outcome
	}{
		{"no queue", func(*testing.T, *conntest.Broker, conn.Session) {}, Unroutable},
		{"no server", func(t *testing.T, _ *conntest.Broker, s conn.Session) { declare(t, s, true) }, Bounced},
		{"queue is not bound", func(t *testing.T, _ *conntest.Broker, s conn.Session) { declare(t, s, false) }, Unroutable},
		{"a server", func(t *testing.T, b *conntest.Broker, _ conn.Session) { serve(t, b, answer) }, Answered},
		{"a consumer that is no server", func(t *testing.T, _ *conntest.Broker, s conn.Session) {
			declare(t, s, true)
			_, err := s.Consume(t.Context(), conn.Consume{Queue: "rabbitrpc.math", Prefetch: 1}, func(*conn.Delivery) {})
			must(t, err)
		}, Silent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := conntest.NewBroker()
				t.Cleanup(b.Close) // after the server
				s, err := b.Connector("other").Session(t.Context())
				must(t, err)
				must(t, s.DeclareExchange(t.Context(), wire.RequestExchange("math")))
				tt.set(t, b, s)
				synctest.Wait()
				start := time.Now()
				got, err := Ping(t.Context(), b.Connector("doctor"), "math")
				if err != nil || got.Outcome != tt.want || time.Since(start) > pingTimeout {
					t.Errorf("got %+v, %v after %v, want %d", got, err, time.Since(start), tt.want)
				}
				s.Close(t.Context())
			})
		})
	}
}

// A ping of who may not call ends with the refusal; one of a broker that is gone with its end.
func TestPingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := conntest.NewBroker()
		defer b.Close()
		b.Stop()
		if _, err := Ping(t.Context(), b.Connector("doctor"), "math"); !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("got %v, want no connection", err)
		}
		b.Start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		s, err := b.Connector("other").Session(t.Context())
		must(t, err)
		declare(t, s, true)
		_, err = s.Consume(t.Context(), conn.Consume{Queue: "rabbitrpc.math", Prefetch: 1}, func(*conn.Delivery) {})
		must(t, err)
		if _, err := Ping(ctx, b.Connector("doctor"), "math"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
	})
}

// What servers declare is what is declared for them: a server runs with it, and finds nothing different.
func TestDeclareIsWhatServersDo(t *testing.T) {
	for _, tt := range []struct {
		name             string
		quorum, maxQueue int
		opts             []server.Option
	}{
		{"classic", 0, 0, nil},
		{"quorum", 3, 0, []server.Option{server.WithQuorumQueue(3)}},
		{"bounded", 0, 7, []server.Option{server.WithMaxQueue(7)}},
		{"quorum, bounded", 3, 7, []server.Option{server.WithQuorumQueue(3), server.WithMaxQueue(7)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := conntest.NewBroker()
				defer b.Close()
				s, err := b.Connector("ops").Session(t.Context())
				must(t, err)
				want := &Service{Topology: wire.NewTopology("math", tt.quorum, tt.maxQueue), Plain: "plain"}
				for range 2 {
					must(t, Declare(t.Context(), s, want, func(string) {}))
				}
				stop := serve(t, b, func(_ context.Context, n int) (int, error) { return n, nil }, append(tt.opts, server.WithQueue("plain", "same"))...)
				c, err := client.New(b.Connector("caller"))
				must(t, err)
				defer c.Close(t.Context())
				if got, err := client.Call(t.Context(), c, same, 7); got != 7 || err != nil {
					t.Errorf("got %d, %v, want 7", got, err)
				}
				busy := &BusyError{}
				if err := Delete(t.Context(), s, want, false, func(string) {}); !errors.As(err, &busy) || busy.Consumers != 1 {
					t.Errorf("delete: got %v, want that it is in use", err)
				}
				stop()
				var deleted []string
				must(t, Delete(t.Context(), s, want, false, func(what string) { deleted = append(deleted, what) }))
				if len(deleted) != 4 || len(b.Queues()) != 1 { // the caller's
					t.Errorf("deleted %q, left %+v", deleted, b.Queues())
				}
			})
		})
	}
}

var same = rpc.Method[int, int]{Service: "math", Name: "same"}

func serve(t *testing.T, b *conntest.Broker, h func(context.Context, int) (int, error), opts ...server.Option) (stop func()) {
	t.Helper()
	s, err := server.New(b.Connector("server"), "math", opts...)
	must(t, err)
	server.Handle(s, same, h)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	<-s.Ready()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		must(t, <-ended)
	}
	t.Cleanup(stop)
	return stop
}

func declare(t *testing.T, s conn.Session, bound bool) {
	t.Helper()
	want := wire.NewTopology("math", 0, 0)
	must(t, s.DeclareExchange(t.Context(), want.Exchange))
	_, err := s.DeclareQueue(t.Context(), want.Queue)
	must(t, err)
	if bound {
		must(t, s.BindQueue(t.Context(), want.Queue.Name, want.Exchange.Name, ""))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

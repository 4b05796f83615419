package endtoend

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// sendUnreadable publishes a message that ends the connection of whoever consumes it with the AMQP library.
func sendUnreadable(t *testing.T, url, exchange, key string) {
	t.Helper()
	c, err := amqp.Dial(url)
	must(t, err)
	defer c.Close()
	ch, err := c.Channel()
	must(t, err)
	must(t, ch.Confirm(false))
	confirm, err := ch.PublishWithDeferredConfirm(exchange, key, true, false, amqp.Publishing{Headers: nested(), DeliveryMode: amqp.Persistent})
	must(t, err)
	if ok, err := confirm.WaitContext(t.Context()); !ok || err != nil {
		t.Fatalf("not confirmed: %v", err)
	}
}

// nested are headers that are deeper than the AMQP library reads.
func nested() amqp.Table {
	headers := amqp.Table{}
	for range 40 {
		headers = amqp.Table{"t": headers}
	}
	return headers
}

// Headers that the AMQP library would end the connection for are a request's own trouble.
func TestHeadersBeyondTheLibrary(t *testing.T) {
	t.Setenv("RABBITRPC_DATAPLANE", "")
	url := testbroker.URL(t)
	m := open(t, url)
	method := service(t, m)
	s, _ := serve(t, m, method, double)
	before, err := m.Session(t.Context())
	must(t, err)
	c, err := amqp.Dial(url)
	must(t, err)
	defer c.Close()
	ch, err := c.Channel()
	must(t, err)
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	must(t, err)
	replies, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	must(t, err)
	deep := nested()
	deep["rpc-version"] = int64(1)
	for _, tt := range []struct {
		name    string
		headers amqp.Table
		want    string
	}{
		{"deep", deep, "42"},
		{"long", amqp.Table{"rpc-version": int64(1), "l": make([]any, 9000)}, "request headers have 72028 bytes, at most 16384 are allowed"},
	} {
		must(t, ch.PublishWithContext(t.Context(), wire.Exchange(method.Service), q.Name, true, false, amqp.Publishing{
			Headers: tt.headers, Type: method.Name, CorrelationId: tt.name, ReplyTo: q.Name, Body: []byte("21"),
		}))
		select {
		case d := <-replies:
			if string(d.Body) != tt.want {
				t.Errorf("%s: got %q, want %q", tt.name, d.Body, tt.want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: no answer", tt.name)
		}
	}
	// RabbitMQ adds the history of a dead letter, and does not look whether that still fits into a frame.
	dead, err := ch.QueueDeclare("", false, true, true, false, amqp.Table{
		"x-message-ttl": int64(0), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": wire.Queue(method.Service),
	})
	must(t, err)
	full := amqp.Table{"x": strings.Repeat("x", 131072-100)}
	must(t, ch.PublishWithContext(t.Context(), "", dead.Name, true, false, amqp.Publishing{Headers: full, ReplyTo: q.Name, Body: []byte("21")}))
	wait(t, "what is longer than a frame to be dropped", func() bool { return s.Stats().Dropped == 1 })
	if err := before.Err(); err != nil {
		t.Errorf("the server's session has ended: %v", err)
	}
}

// With the AMQP library there are messages that nobody can read. That is said, and does not make the server storm the broker; a
// quorum queue gives it up.
func TestUnreadable(t *testing.T) {
	const said = "a message that cannot be read"
	for _, c := range []struct {
		name string
		opts []server.Option
	}{
		{"classic", nil},
		{"quorum", []server.Option{server.WithQuorumQueue(2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := testbroker.URL(t)
			m := open(t, url, conn.WithoutDataPlane())
			method := service(t, m)
			var log safeBuffer
			logger := slog.New(slog.NewTextHandler(&log, nil))
			serve(t, m, method, double, append(c.opts, server.WithLogger(logger))...)
			sendUnreadable(t, url, "", wire.Queue(method.Service))
			wait(t, "the log to say it", func() bool { return strings.Contains(log.String(), said) })
			if c.opts == nil {
				wait(t, "the log to say it again", func() bool { return strings.Count(log.String(), said) >= 2 })
				s, err := m.Session(t.Context())
				must(t, err)
				must(t, s.DeleteQueue(t.Context(), wire.Queue(method.Service)))
			}
			cl := newClient(t, open(t, url)) // its own connection: that of the server may be cut
			wait(t, "the server to be back", func() bool {
				got, err := call(t, cl, method, 21)
				return err == nil && got == 42
			})
			if n := strings.Count(log.String(), said); n > 8 {
				t.Errorf("said %d times: the broker was stormed", n)
			}
		})
	}
}

package endtoend

import (
	"log/slog"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

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
	nested := amqp.Table{}
	for range 40 {
		nested = amqp.Table{"t": nested}
	}
	confirm, err := ch.PublishWithDeferredConfirm(exchange, key, true, false, amqp.Publishing{Headers: nested, DeliveryMode: amqp.Persistent})
	must(t, err)
	if ok, err := confirm.WaitContext(t.Context()); !ok || err != nil {
		t.Fatalf("not confirmed: %v", err)
	}
}

// A message that nobody can read is said, and does not make the server storm the broker; a quorum queue gives it up.
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
			m := open(t, url)
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

package endtoend

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Who may not call one service is told so at once, and can still call others.
func TestServiceDenied(t *testing.T) {
	n := testbroker.OwnNode(t)
	ctl := func(args ...string) {
		t.Helper()
		_, err := n.Ctl(t.Context(), args...)
		must(t, err)
	}
	ctl("add_user", "web", "secret")
	ctl("set_permissions", "web", "^amq\\.gen", "^rabbitrpc\\.open$", "^amq\\.gen")
	u, err := url.Parse(n.URL())
	must(t, err)
	u.User = url.UserPassword("web", "secret")

	ms := open(t, n.URL())
	allowed, secret := rpc.Method[int, int]{Service: "open", Name: "double"}, rpc.Method[int, int]{Service: "secret", Name: "double"}
	serve(t, ms, allowed, double)
	serve(t, ms, secret, double)
	c := newClient(t, open(t, u.String()), client.WithTimeout(5*time.Second))
	if got, err := client.Call(t.Context(), c, allowed, 1); got != 2 || err != nil {
		t.Fatalf("got %d, %v, want 2", got, err)
	}
	start := time.Now()
	for range 100 {
		_, err := client.Call(t.Context(), c, secret, 1)
		if rpc.CodeOf(err) != rpc.PermissionDenied || rpc.Executed(err) != rpc.ExecutedNo || !errors.Is(err, conn.ErrRefused) {
			t.Fatalf("got %v, executed %v, want permission_denied, no", err, rpc.Executed(err))
		}
		if got, err := client.Call(t.Context(), c, allowed, 1); got != 2 || err != nil {
			t.Fatalf("the other service: got %d, %v, want 2", got, err)
		}
	}
	if resent := c.Stats().Resent; time.Since(start) < 5*time.Second && resent > 2 {
		t.Errorf("%d attempts were lost with the session: the refusal is not remembered", resent)
	}
	ctl("set_permissions", "web", "^amq\\.gen", "^rabbitrpc\\.", "^amq\\.gen")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if got, err := client.Call(t.Context(), c, secret, 1); got == 2 && err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("10s after the right was given: %v", err)
		}
	}
}

// Who may call one service chooses where its dead letters go. That may be the queue of one that he may not call: he gets a no.
func TestDeadLetterIsNoCall(t *testing.T) {
	n := testbroker.Node(t)
	ctl := func(args ...string) {
		t.Helper()
		_, err := n.Ctl(context.Background(), args...)
		must(t, err)
	}
	ctl("add_user", "letters", "secret")
	t.Cleanup(func() { ctl("delete_user", "letters") })
	ctl("set_permissions", "letters", "^amq\\.gen", "^rabbitrpc\\.open$", "^amq\\.gen")
	u, err := url.Parse(n.URL())
	must(t, err)
	u.User = url.UserPassword("letters", "secret")

	m := open(t, n.URL())
	_, stop := serve(t, m, rpc.Method[int, int]{Service: "open", Name: "double"}, double)
	stop() // its queue stays, and gives up all that comes
	secret := service(t, m)
	serve(t, m, secret, func(_ context.Context, n int) (int, error) {
		t.Errorf("the handler got %d", n)
		return 0, nil
	})
	s, err := open(t, u.String()).Session(t.Context())
	must(t, err)
	replies, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
	must(t, err)
	got := make(chan *conn.Delivery, 1)
	_, err = s.Consume(t.Context(), conn.Consume{Queue: replies.Name, NoAck: true}, func(d *conn.Delivery) { got <- d })
	must(t, err)
	p, err := s.OpenPublisher(t.Context(), nil)
	must(t, err)
	for _, headers := range []map[string]any{
		{"rpc-version": int64(1)},
		{"rpc-version": int64(1), "x-death": []any{}}, // or up to RabbitMQ 3.13 it would say less
	} {
		must(t, p.Publish(&conn.Message{
			Exchange: wire.Exchange("open"), Key: wire.Queue(secret.Service), Expiration: "0", Type: secret.Name,
			CorrelationID: "1", ReplyTo: replies.Name, Headers: headers, Body: []byte("21"),
		}, nil))
		select {
		case d := <-got:
			if _, err := wire.DecodeReply(&d.Message); rpc.CodeOf(err) != rpc.PermissionDenied || rpc.Executed(err) != rpc.ExecutedNo {
				t.Errorf("%v: got %q, %v, want permission_denied, not executed", headers, d.Body, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%v: no answer", headers)
		}
	}
	s, err = m.Session(t.Context())
	must(t, err)
	must(t, s.DeleteQueue(t.Context(), wire.Queue("open")))
}

// Servers put back what was deleted under them, before anybody has to be woken.
func TestExchangeDeleted(t *testing.T) {
	n := testbroker.OwnNode(t)
	m := open(t, n.URL())
	method := rpc.Method[int, int]{Service: "deleted", Name: "double"}
	serve(t, m, method, double)
	c := newClient(t, m)
	_, err := client.Call(t.Context(), c, method, 1)
	must(t, err)
	_, err = n.Ctl(t.Context(), "eval", `rabbit_exchange:delete(rabbit_misc:r(<<"/">>, exchange, <<"rabbitrpc">>), false, <<"test">>).`)
	must(t, err)
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if got, err := client.Call(t.Context(), c, method, 2); got == 4 && err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("15s after the exchange was deleted: %v", err)
		}
	}
}

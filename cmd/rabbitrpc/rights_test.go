package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"regexp"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/topology"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Everything works with the rights that topology permissions prints; without any part of them something does not.
func TestLeastRights(t *testing.T) {
	c := newCast(t)
	for _, user := range c.lacking["ops"] {
		if err := c.provision(user); !errors.Is(err, conn.ErrRefused) {
			t.Errorf("%s: got %v, want a refusal", user, err)
		}
	}
	c.must(c.provision("ops"))
	c.must(c.provision("ops")) // from scratch, and again
	s, err := c.open("ops").Session(t.Context())
	c.must(err)
	c.must(topology.Declare(t.Context(), s, c.wanted(), func(string) {}))

	worker := c.serve("worker")
	if !worker.ready || c.hidden(worker) {
		t.Fatal("the server does not serve, or is hidden")
	}
	t.Run("eavesdropper", func(t *testing.T) { c.eavesdrops(t) })
	t.Run("client", func(t *testing.T) { c.clients(t) })
	t.Run("observer", func(t *testing.T) { c.observers(t) })
	t.Run("client of the plain queue", func(t *testing.T) { c.plainClients(t) })
	t.Run("parked", func(t *testing.T) { c.parks(t) })
	worker.stop()
	if err := c.call(c.open("web"), soon); !errors.Is(err, client.ErrNoServer) {
		t.Errorf("after the server: got %v, want no server", err)
	}
	t.Run("server", func(t *testing.T) {
		for _, user := range c.lacking["worker"] {
			s := c.serve(user)
			if c.lacksNothing(s) {
				t.Errorf("%s: lacks nothing", user)
			}
			s.stop()
		}
	})
	t.Run("server that declares", func(t *testing.T) { c.declaringServer(t) })
	c.must(c.provision(""))
}

// eavesdrops tries to have the requests of another service copied into a queue of a server's own.
func (c *cast) eavesdrops(t *testing.T) {
	for _, user := range []string{"worker", "alone"} {
		s, err := c.open(user).Session(t.Context())
		c.must(err)
		queue := wire.InstanceQueue(limited, user)
		_, err = s.DeclareQueue(t.Context(), conn.Queue{Name: queue, Exclusive: true, AutoDelete: true})
		c.must(err)
		for _, exchange := range []string{wire.Exchange("foreign"), wire.DiscoveryExchange} {
			if err := s.BindQueue(t.Context(), queue, exchange, "#"); !errors.Is(err, conn.ErrRefused) {
				t.Errorf("%s binds to %s: got %v, want a refusal", user, exchange, err)
			}
		}
	}
}

func (c *cast) clients(t *testing.T) {
	if err := c.call(c.open("web"), patience); err != nil {
		t.Error(err)
	}
	if err := c.call(without43{c.open("web")}, patience); err != nil {
		t.Errorf("by a ping: %v", err)
	}
	askOwn := func(m conn.Connector) error { return c.ask(m, limited) }
	c.must(askOwn(c.open("web")))
	c.fails("web", func(m conn.Connector) error { return errors.Join(c.call(m, soon), askOwn(m)) })
	for _, service := range []string{"", "foreign"} {
		if err := c.ask(c.open("web"), service); !errors.Is(err, conn.ErrRefused) {
			t.Errorf("instances of %q: got %v, want a refusal", service, err)
		}
	}
	s, err := c.open("").Session(t.Context())
	c.must(err)
	foreign := wire.NewTopology("foreign", 0, 0)
	_, err = s.DeclareQueue(t.Context(), foreign.Queue)
	c.must(err)
	defer s.DeleteQueue(context.Background(), foreign.Queue.Name)
	c.must(s.DeclareExchange(t.Context(), foreign.Exchange))
	defer s.DeleteExchange(context.Background(), foreign.Exchange.Name)
	c.must(s.BindQueue(t.Context(), foreign.Queue.Name, foreign.Exchange.Name, ""))
	_, err = s.Consume(t.Context(), conn.Consume{Queue: foreign.Queue.Name, NoAck: true}, func(*conn.Delivery) {
		t.Error("a request got through without a right")
	})
	c.must(err)
	cl, err := client.New(c.open("web"))
	c.must(err)
	defer cl.Close(context.Background())
	_, err = cl.Do(t.Context(), &rpc.Request{Service: "foreign", Method: "x", ContentType: rpc.ContentTypeJSON, Body: []byte("1")})
	if rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("a service without a right: got %v, want permission_denied", err)
	}
}

func (c *cast) observers(t *testing.T) {
	ask := func(m conn.Connector) error { return errors.Join(c.ask(m, ""), c.ask(m, limited)) }
	c.must(ask(c.open("eye")))
	c.fails("eye", ask)
	if err := c.call(c.open("eye"), soon); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("a call: got %v, want permission_denied", err)
	}
}

func (c *cast) plainClients(t *testing.T) {
	if err := c.call(c.open("pika"), patience, client.WithQueue(limitedPlain)); err != nil {
		t.Error(err)
	}
	c.fails("pika", func(m conn.Connector) error { return c.call(m, soon, client.WithQueue(limitedPlain)) })
	reply, err := directly(t, "pika")
	if err != nil || reply != "42" {
		t.Errorf("by direct reply-to: got %q, %v, want 42", reply, err)
	}
}

// directly calls by direct reply-to, which conn does not do.
func directly(t *testing.T, user string) (string, error) {
	at, err := url.Parse(testbroker.URL(t))
	if err != nil {
		return "", err
	}
	at.User = url.UserPassword(user, "secret")
	c, err := amqp.Dial(at.String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		return "", err
	}
	replies, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		return "", err
	}
	err = ch.Publish("", limitedPlain, false, false, amqp.Publishing{
		ContentType: rpc.ContentTypeJSON, ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "1", Body: []byte("21"),
	})
	if err != nil {
		return "", err
	}
	select {
	case d := <-replies:
		return string(d.Body), nil
	case <-time.After(patience):
		return "", errors.New("no reply")
	}
}

// parks has a request parked by a server that may not declare the queue for it.
func (c *cast) parks(t *testing.T) {
	cl, err := client.New(c.open("web"))
	c.must(err)
	defer cl.Close(context.Background())
	_, err = client.Call(t.Context(), cl, limitedDouble, 21, client.WithCallID("poison"))
	if rpc.CodeOf(err) != rpc.Internal {
		t.Errorf("got %v, want that it was parked", err)
	}
	s, err := c.open("").Session(t.Context())
	c.must(err)
	if info, err := s.InspectQueue(t.Context(), wire.ParkedQueue(limited)); err != nil || info.Messages != 1 {
		t.Errorf("parked: got %+v, %v, want 1", info, err)
	}
}

// declaringServer declares for itself, from nothing. What it may not declare is missing then.
func (c *cast) declaringServer(t *testing.T) {
	c.must(c.provision(""))
	admin := testbroker.Node(t)
	c.must(admin.DeleteExchange(t.Context(), wire.DiscoveryExchange))
	alone := c.serve("alone")
	if err := c.call(c.open("web"), patience); !alone.ready || err != nil || c.hidden(alone) {
		t.Errorf("ready %v, call: %v; or it is hidden", alone.ready, err)
	}
	alone.stop()
	if os.Getenv("RABBITRPC_LONG") == "" {
		return // what follows takes seconds
	}
	ctx := t.Context()
	s, err := c.open("").Session(ctx)
	c.must(err)
	for _, user := range c.lacking["alone"] {
		c.must(c.provision(""))
		if regexp.MustCompile("configure rabbitrpc$").MatchString(user) {
			continue // which all services share, and another has declared
		}
		p := c.serve(user)
		works := c.lacksNothing(p)
		_, noParked := s.InspectQueue(ctx, wire.ParkedQueue(limited))
		_, noPlain := s.InspectQueue(ctx, limitedPlain)
		if works && noParked == nil && noPlain == nil {
			t.Errorf("%s: nothing is missing", user)
		}
		p.stop()
	}
}

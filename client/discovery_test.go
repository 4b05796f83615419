package client_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
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

// found asks, and returns the names of those that answer, sorted.
func found(t *testing.T, d *client.Discovery, service string) (names []string) {
	t.Helper()
	for a, err := range d.Instances(t.Context(), service, client.AskInfo, 0) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, a.Name)
	}
	slices.Sort(names)
	return names
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// discover makes a discovery for a test, in a bubble.
func (r *rig) discover(c conn.Connector) *client.Discovery {
	d := client.NewDiscovery(c)
	r.t.Cleanup(func() { d.Close(context.Background()) })
	return d
}

func TestInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		d := r.discover(r.broker.Connector("discovery"))
		start := time.Now()
		want(t, "before there is one", found(t, d, ""))
		if took := time.Since(start); took != 0 {
			t.Errorf("that nobody is there took %v, want no time", took)
		}
		_, stop := r.serve(r.broker.Connector("a"), twice, server.WithName("a"))
		r.serve(r.broker.Connector("b"), twice, server.WithName("b"))
		r.serve(r.broker.Connector("c"), twice, server.WithName("c"), server.WithoutDiscovery())
		r.echo(func(*rpc.Request) {}, server.WithName("e"))
		synctest.Wait()
		start = time.Now()
		want(t, "all", found(t, d, ""), "a", "b", "e")
		if took := time.Since(start); took != client.DefaultQuiet {
			t.Errorf("it took %v, want %v", took, client.DefaultQuiet)
		}
		want(t, "one service", found(t, d, "math"), "a", "b")
		want(t, "another", found(t, d, "echo"), "e")
		want(t, "none", found(t, d, "nonesuch"))
		if q, err := d.Queue(t.Context(), "math"); q.Consumers != 3 || err != nil {
			t.Errorf("queue: got %+v, %v, want 3 consumers", q, err)
		}
		if _, err := d.Queue(t.Context(), "nonesuch"); !errors.Is(err, conn.ErrNotFound) {
			t.Errorf("queue of nobody: got %v", err)
		}
		stop()
		want(t, "after the end of one", found(t, d, "math"), "b")
		r.mustCall(1)
	})
}

func TestInstancesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		for _, name := range []string{"a", "b", "c"} {
			r.serve(r.broker.Connector(name), twice, server.WithName(name))
		}
		synctest.Wait()
		d := r.discover(r.broker.Connector("discovery"))
		start, n := time.Now(), 0
		for range d.Instances(t.Context(), "math", client.AskPing, time.Hour) {
			if n++; n == 2 {
				break
			}
		}
		if took := time.Since(start); n != 2 || took != 0 {
			t.Errorf("%d answers in %v, want 2 at once", n, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n = 0
		for _, err := range d.Instances(ctx, "math", client.AskPing, math.MaxInt64) {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if took := time.Since(start); n != 3 || took != time.Second {
			t.Errorf("%d answers until the context ended after %v, want 3, 1s", n, took)
		}
		if err := failure(d, t.Context(), "no service"); err == nil {
			t.Error("asked for a service that cannot be")
		}
		d.Close(t.Context())
		if err := failure(d, t.Context(), "math"); err == nil {
			t.Error("asked after Close")
		}
	})
}

// failure is the error with which a sequence ends.
func failure(d *client.Discovery, ctx context.Context, service string) (last error) {
	for _, err := range d.Instances(ctx, service, client.AskPing, time.Minute) {
		last = err
	}
	return last
}

// A session that ends while somebody asks is an error, and the next question has another.
func TestInstancesLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.serve(r.broker.Connector("a"), twice, server.WithName("a"))
		synctest.Wait()
		c := r.broker.Connector("discovery")
		d := r.discover(c)
		time.AfterFunc(time.Second, r.broker.Stop)
		if err := failure(d, t.Context(), "math"); !errors.Is(err, conn.ErrClosed) {
			t.Errorf("lost session: got %v", err)
		}
		if err := failure(d, t.Context(), "math"); !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("without a broker: got %v", err)
		}
		r.broker.Start()
		time.Sleep(10 * time.Second)
		want(t, "afterwards", found(t, d, "math"), "a")
	})
}

// What strangers write is no instance, or as little as it says.
func TestForgedAnswers(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		name, body string
		edit       func(*conn.Message)
		want       []string
	}{
		{name: "no JSON", body: "{"},
		{name: "no ID", body: `{"service":"math","name":"f"}`},
		{name: "a long ID", body: `{"service":"math","name":"f","id":"` + long + `"}`},
		{name: "no service", body: `{"service":"a.b","name":"f","id":"1"}`},
		{name: "another service", body: `{"service":"other","name":"f","id":"1"}`},
		{name: "other types", body: `{"service":"math","name":7,"id":"1"}`},
		{name: "too large", body: `{"service":"math","name":"f","id":"1"}` + strings.Repeat(" ", 64<<10)},
		{name: "an error", body: `{"service":"math","name":"f","id":"1"}`, edit: func(m *conn.Message) { m.Headers = map[string]any{"rpc-code": "internal"} }},
		{name: "another question", body: `{"service":"math","name":"f","id":"1"}`, edit: func(m *conn.Message) { m.CorrelationID = "x" }},
		{name: "a long name", body: `{"service":"math","name":"` + long + `","id":"1"}`, want: []string{long[:255]}},
		{name: "a twin", body: `{"service":"math","name":"f","id":"1"}`, want: []string{"f"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := conntest.NewBroker()
				defer b.Close()
				ctx := t.Context()
				s, err := b.Connector("forger").Session(ctx)
				must(t, err)
				p, err := s.OpenPublisher(ctx, nil)
				must(t, err)
				must(t, s.DeclareExchange(ctx, wire.QuestionExchange))
				q, err := s.DeclareQueue(ctx, conn.Queue{Exclusive: true})
				must(t, err)
				must(t, s.BindQueue(ctx, q.Name, wire.DiscoveryExchange, wire.AllKey))
				must(t, s.BindQueue(ctx, q.Name, wire.DiscoveryExchange, wire.DiscoveryKey("math")))
				_, err = s.Consume(ctx, conn.Consume{Queue: q.Name, NoAck: true}, func(d *conn.Delivery) {
					m := conn.Message{Key: d.ReplyTo, CorrelationID: d.CorrelationID, Body: []byte(c.body)}
					if c.edit != nil {
						c.edit(&m)
					}
					p.Publish(&m, nil)
					p.Publish(&m, nil)
				})
				must(t, err)
				d := client.NewDiscovery(b.Connector("discovery"))
				defer d.Close(ctx)
				want(t, "answers", found(t, d, "math"), c.want...)
			})
		})
	}
}

// A stranger who answers as one instance after the other does not keep who asks for ever.
func TestEndlessAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := conntest.NewBroker()
		defer b.Close()
		s, err := b.Connector("forger").Session(t.Context())
		must(t, err)
		p, err := s.OpenPublisher(t.Context(), nil)
		must(t, err)
		must(t, s.DeclareExchange(t.Context(), wire.QuestionExchange))
		q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
		must(t, err)
		must(t, s.BindQueue(t.Context(), q.Name, wire.DiscoveryExchange, wire.DiscoveryKey("math")))
		_, err = s.Consume(t.Context(), conn.Consume{Queue: q.Name, NoAck: true}, func(d *conn.Delivery) {
			for i := 0; s.Err() == nil; i++ {
				body := fmt.Sprintf(`{"service":"math","name":"f","id":"%d"}`, i)
				p.Publish(&conn.Message{Key: d.ReplyTo, CorrelationID: d.CorrelationID, Body: []byte(body)}, nil)
				time.Sleep(client.DefaultQuiet * 3 / 5) // no answer comes at the moment of the end
			}
		})
		must(t, err)
		d := client.NewDiscovery(b.Connector("discovery"))
		defer d.Close(t.Context())
		start := time.Now()
		if n := len(found(t, d, "math")); n != 17 {
			t.Errorf("got %d instances, want 17", n)
		}
		if took := time.Since(start); took != 10*client.DefaultQuiet {
			t.Errorf("it took %v, want ten times %v", took, client.DefaultQuiet)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.serve(r.broker.Connector("a"), twice)
		got, err := client.Describe(t.Context(), r.client, "math", "double")
		if err != nil || got.Method != "double" || !strings.Contains(string(got.Request), "integer") {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := client.Describe(t.Context(), r.client, "math", "nonesuch"); rpc.CodeOf(err) != rpc.Unimplemented {
			t.Errorf("no such method: got %v", err)
		}
	})
}

// Servers answer a moment after they are ready. Who does not answer within the quiet interval is not shown.
func ExampleDiscovery() {
	ctx := context.Background()
	m, err := conn.Open(ctx, conn.DefaultURL())
	if err != nil {
		panic(err)
	}
	defer m.Close(ctx)
	d := client.NewDiscovery(m)
	defer d.Close(ctx)
	for a, err := range d.Instances(ctx, "math", client.AskInfo, client.DefaultQuiet) {
		if err != nil {
			panic(err)
		}
		fmt.Println(a.Name, a.State, a.Uptime(), a.Info.Methods)
	}
}

// A broker in an alarm keeps a question, which is another thing than that nobody answers it.
func TestInstancesInAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		s, err := r.broker.Connector("mute").Session(t.Context())
		must(t, err)
		defer s.Close(context.Background())
		q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
		must(t, err)
		must(t, s.DeclareExchange(t.Context(), wire.QuestionExchange))
		must(t, s.BindQueue(t.Context(), q.Name, wire.DiscoveryExchange, wire.DiscoveryKey("math")))
		d := r.discover(r.broker.Connector("discovery"))
		if err := failure(d, t.Context(), "math"); err != nil {
			t.Errorf("nobody answers: got %v", err)
		}
		time.AfterFunc(time.Second, r.broker.Block)
		if err := failure(d, t.Context(), "math"); !errors.Is(err, conn.ErrBlocked) {
			t.Errorf("in an alarm: got %v, want %v", err, conn.ErrBlocked)
		}
		r.broker.Unblock()
	})
}

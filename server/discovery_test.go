package server_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// question asks the instances of a service.
func (c *caller) question(method, service string, edits ...func(*conn.Message)) *conn.Message {
	c.ids++
	m := wire.EncodeQuestion(method, service, fmt.Sprint("question-", c.ids), c.replyTo, time.Second)
	m.Mandatory = false
	for _, edit := range edits {
		edit(m)
	}
	return m
}

// instances asks, and returns who has answered, by name.
func (c *caller) instances(method, service string) []*rpc.Instance {
	c.t.Helper()
	m := c.question(method, service)
	c.send(m)
	var all []*rpc.Instance
	for _, reply := range c.replies() {
		if reply.CorrelationID != m.CorrelationID {
			c.t.Errorf("got the answer to %q, want that to %q", reply.CorrelationID, m.CorrelationID)
		}
		i, err := wire.DecodeAnswer(reply)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b *rpc.Instance) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func names(all []*rpc.Instance) (names []string) {
	for _, i := range all {
		names = append(names, i.Service+" "+i.Name)
	}
	return names
}

func TestDiscovery(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice, server.WithVersion("1.2.0"), server.WithWorkers(3))
		r.start(r.broker.Connector("second"), twice, server.WithName("host/2"), server.WithStore(nil))
		r.start(r.broker.Connector("hidden"), twice, server.WithName("host/3"), server.WithoutDiscovery())
		r.launchService("other", "host/4")
		synctest.Wait()
		r.mustAnswer()
		time.Sleep(time.Minute)

		if got, want := names(r.instances(wire.Ping, "")), []string{"math host/1", "math host/2", "other host/4"}; !slices.Equal(got, want) {
			t.Errorf("all services: got %q, want %q", got, want)
		}
		if got, want := names(r.instances(wire.Ping, "other")), []string{"other host/4"}; !slices.Equal(got, want) {
			t.Errorf("one service: got %q, want %q", got, want)
		}
		all := r.instances(wire.Info, "math")
		if len(all) != 2 {
			t.Fatalf("info: got %d instances, want 2", len(all))
		}
		one, two := all[0], all[1]
		if one.ID == two.ID || one.Version != "1.2.0" || two.Version != "" || one.State != "serving" || one.Uptime() != time.Minute {
			t.Errorf("got %+v and %+v", one, two)
		}
		want := rpc.InstanceInfo{
			Methods: []string{"double"}, Workers: 3, Queue: "rabbitrpc.math", QueueType: "classic", Store: "lru",
		}
		if got := one.Info; fmt.Sprint(*got) != fmt.Sprint(want) || two.Info.Store != "none" || one.Stats != nil {
			t.Errorf("info: got %+v and %+v, want %+v", *got, *two.Info, want)
		}
		all = r.instances(wire.Stats, "math")
		if len(all) != 2 || all[0].Stats == nil || all[0].Info != nil {
			t.Fatalf("stats: got %+v", all)
		}
		if got := all[0].Stats.Answered + all[1].Stats.Answered; got > 1 || all[0].Stats.Limit != 3 { // or the hidden one did
			t.Errorf("stats: %d calls answered, limit %d, want 1 at most, 3", got, all[0].Stats.Limit)
		}
	})
}

// launchService starts a server of another service, until the test ends.
func (r *rig) launchService(service, name string, opts ...server.Option) {
	r.t.Helper()
	s, err := server.New(r.broker.Connector(name), service, append(opts, quiet, server.WithName(name))...)
	if err != nil {
		r.t.Fatal(err)
	}
	s.Handle("m", func(context.Context, *rpc.Request) (*rpc.Reply, error) { return new(rpc.Reply), nil })
	stop := run(s)
	r.t.Cleanup(func() { stop() })
}

// What cannot be answered costs nobody a word, and no instance its life.
func TestQuestionsThatAreNotAnswered(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*conn.Message)
	}{
		{"no reply-to", func(m *conn.Message) { m.ReplyTo = "" }},
		{"a service's queue", func(m *conn.Message) { m.ReplyTo = "rabbitrpc.math" }},
		{"an instance's queue", func(m *conn.Message) { m.ReplyTo = wire.InstanceQueue("math", "X") }},
		{"a queue with a name", func(m *conn.Message) { m.ReplyTo = "work" }},
		{"direct reply-to", func(m *conn.Message) { m.ReplyTo = "amq.rabbitmq.reply-to.x" }},
		{"control characters", func(m *conn.Message) { m.ReplyTo = "amq.gen-\x1b[2J" }},
		{"no version", func(m *conn.Message) { delete(m.Headers, "rpc-version") }},
		{"a later version", func(m *conn.Message) { m.Headers["rpc-version"] = int64(2) }},
		{"no correlation id", func(m *conn.Message) { m.CorrelationID = "" }},
		{"a method of the service", func(m *conn.Message) { m.Type = "double" }},
		{"a description", func(m *conn.Message) { m.Type = wire.Describe }},
		{"a large body", func(m *conn.Message) { m.Body = make([]byte, 1<<20) }},
		{"many headers", func(m *conn.Message) {
			for i := range 100 {
				m.Headers[fmt.Sprint("h", i)] = "v"
			}
		}},
		{"an answer", func(m *conn.Message) { m.ReplyTo, m.Type, m.Body = "", "", []byte(`{"service":"math"}`) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				p := r.start(r.conn, twice)
				r.declareWork()
				synctest.Wait()
				before := r.log.String()
				r.send(r.question(wire.Info, "math", c.edit))
				if got := r.replies(); len(got) != 0 {
					t.Errorf("answered: %+v", got[0])
				}
				time.Sleep(5 * time.Second)
				if log := strings.TrimPrefix(r.log.String(), before); log != "" {
					t.Errorf("logged: %s", log)
				}
				if got := r.instances(wire.Ping, "math"); len(got) != 1 {
					t.Errorf("afterwards %d instances answer, want 1", len(got))
				}
				if st := p.Stats(); st != (server.Stats{Limit: 16, Workers: 16, Serving: true}) {
					t.Errorf("counted as a call: %+v", st)
				}
			})
		})
	}
}

// declareWork makes a queue that holds the work of a stranger. What gets into it is left behind, which the rig finds.
func (r *rig) declareWork() {
	r.t.Helper()
	s, err := r.conn.Session(r.t.Context())
	if err == nil {
		_, err = s.DeclareQueue(r.t.Context(), conn.Queue{Name: "work"})
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// A flood of questions is answered at a bounded rate, and calls go on.
func TestQuestionFlood(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice)
		synctest.Wait()
		for range 10_000 {
			r.send(r.question(wire.Info, "", func(m *conn.Message) { m.Expiration = "" }))
		}
		synctest.Wait()
		if got := len(r.replies()); got < 90 || got > 110 {
			t.Errorf("%d questions were answered at once, want about 100", got)
		}
		r.mustAnswer()
		time.Sleep(500 * time.Millisecond)
		if got := len(r.replies()); got < 40 || got > 60 {
			t.Errorf("%d questions were answered in half a second, want about 50", got)
		}
		time.Sleep(10 * time.Second)
		if got := len(r.replies()); got > 60 {
			t.Errorf("%d questions more were answered, want those that the queue had room for", got)
		}
		if got := r.instances(wire.Ping, "math"); len(got) != 1 {
			t.Errorf("afterwards %d instances answer, want 1", len(got))
		}
	})
}

func TestDiscoveryOutlivesSessions(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(r.conn, twice)
		for _, lose := range []func(){r.conn.Lose, r.broker.Stop} {
			synctest.Wait()
			lose()
			time.Sleep(time.Minute)
			r.broker.Start()
			time.Sleep(10 * time.Second)
			r.caller = newCaller(t, r.broker)
			if got := r.instances(wire.Ping, ""); len(got) != 1 {
				t.Fatalf("%d instances answer, want 1", len(got))
			}
		}
	})
}

// What is asked for in a state is answered with it.
func TestInstanceStates(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		p := r.launch(r.conn, func(s *server.Server) {
			s.Pause()
			server.Handle(s, double, slow(10*time.Second, new(counter)))
		})
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			all := r.instances(wire.Stats, "math")
			if len(all) != 1 || all[0].State != want {
				t.Fatalf("got %+v, want one that is %s", all, want)
			}
		}
		check("paused")
		p.Resume()
		check("serving")
		r.send(r.request("21"))
		synctest.Wait()
		p.cancel()
		check("draining")
		if got := r.instances(wire.Stats, "math")[0].Stats.Running; got != 1 {
			t.Errorf("%d handlers run, want 1", got)
		}
		time.Sleep(20 * time.Second)
		r.reply() // of the call
		if got := r.instances(wire.Ping, "math"); len(got) != 0 {
			t.Errorf("after the end %d instances answer", len(got))
		}
	})
}

package endtoend

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/server"
)

func discovery(t *testing.T, c conn.Connector) *client.Discovery {
	d := client.NewDiscovery(c)
	t.Cleanup(func() { d.Close(context.Background()) })
	return d
}

// instances asks for the instances of a service.
func instances(t *testing.T, d *client.Discovery, service string) (all []client.Answer) {
	t.Helper()
	for a, err := range d.Instances(t.Context(), service, client.AskInfo, 200*time.Millisecond) {
		must(t, err)
		all = append(all, a)
	}
	return all
}

// Processes are found as they come and go, by death too.
func TestInstances(t *testing.T) {
	for _, c := range []struct {
		name   string
		quorum int
	}{{"classic", 0}, {"quorum", 3}} {
		t.Run(c.name, func(t *testing.T) {
			addr := testbroker.URL(t)
			m := open(t, addr)
			method := service(t, m)
			d := discovery(t, m)
			if got := instances(t, d, method.Service); len(got) != 0 {
				t.Fatalf("before there is one: got %+v", got)
			}
			var servers []*process
			for range 3 {
				servers = append(servers, start(t, spec{URL: addr, Service: method.Service, Quorum: c.quorum}))
			}
			count := func(want int) func() bool {
				return func() bool { return len(instances(t, d, method.Service)) == want }
			}
			wait(t, "three instances", count(3))
			var ids []string
			for _, a := range instances(t, d, method.Service) {
				if a.Info.QueueType != c.name || a.State != "serving" || !slices.Contains(a.Info.Methods, "double") {
					t.Errorf("got %+v, %+v", a.Instance, *a.Info)
				}
				ids = append(ids, a.ID)
			}
			if slices.Sort(ids); len(slices.Compact(ids)) != 3 {
				t.Errorf("IDs %q are not three", ids)
			}
			must(t, servers[0].Process.Kill())
			servers[0].wait()
			wait(t, "two instances", count(2))
			servers[1].stop()
			wait(t, "one instance", count(1))
		})
	}
}

// One unreadable message to all instances costs no call its session.
func TestUnreadableQuestion(t *testing.T) {
	addr := testbroker.URL(t)
	m := open(t, addr)
	method := service(t, m)
	server := open(t, addr, conn.WithoutDataPlane()) // which would read it
	serve(t, server, method, double)
	c, d := newClient(t, m), discovery(t, m)
	wait(t, "the instance", func() bool { return len(instances(t, d, method.Service)) == 1 })
	session, err := server.Session(t.Context())
	must(t, err)
	sendUnreadable(t, addr, wire.DiscoveryExchange, wire.DiscoveryKey(method.Service))
	if got := instances(t, d, method.Service); len(got) != 0 {
		t.Error("the message has not ended the session for questions: this shows nothing")
	}
	got, err := call(t, c, method, 21)
	if got != 42 || err != nil || session.Err() != nil {
		t.Errorf("got %d, %v, session of the server: %v", got, err, session.Err())
	}
	wait(t, "the instance to be back", func() bool { return len(instances(t, d, method.Service)) == 1 })
}

// Who is asked may answer more than anybody can take in: it waits with the broker.
func TestFloodOfAnswers(t *testing.T) {
	const answers, room = 3000, 64 << 20
	body := []byte(`{"service":"a","id":"1","info":{"methods":[` + strings.Repeat(`"x",`, 14_000) + `"x"]}}`)
	m := open(t, testbroker.URL(t))
	s, err := m.Session(t.Context())
	must(t, err)
	q, err := s.DeclareQueue(t.Context(), conn.Queue{Exclusive: true})
	must(t, err)
	must(t, s.DeclareExchange(t.Context(), wire.QuestionExchange))
	must(t, s.BindQueue(t.Context(), q.Name, wire.DiscoveryExchange, wire.DiscoveryKey("flood")))
	asked := make(chan string, 1)
	_, err = s.Consume(t.Context(), conn.Consume{Queue: q.Name, NoAck: true}, func(d *conn.Delivery) { asked <- d.ReplyTo })
	must(t, err)
	p, err := s.OpenPublisher(t.Context(), nil)
	must(t, err)

	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		for range discovery(t, m).Instances(ctx, "flood", client.AskPing, time.Minute) {
		}
	})
	defer asking.Wait()
	defer stop()
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapInuse
	}
	runtime.GC()
	before, most := heap(), uint64(0)
	for replyTo, i := <-asked, 0; i < answers; i++ {
		must(t, flood(s, p, &conn.Message{Key: replyTo, Body: body, CorrelationID: "1"}))
		if i%100 == 0 {
			most = max(most, heap())
		}
	}
	if most > before+room {
		t.Errorf("%d MiB of heap after %d MiB of answers, and %d before", most>>20, answers*len(body)>>20, before>>20)
	}
}

// What each right is good for. A server that lacks one serves, and says once what it lacks; a client that may not ask does
// not lose the session of its calls.
func TestDiscoveryRights(t *testing.T) {
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("makes many users: run make test-long")
	}
	n := testbroker.Node(t)
	ctl := func(args ...string) {
		t.Helper()
		_, err := n.Ctl(t.Context(), args...)
		must(t, err)
	}
	as := func(user string, rights ...string) *conn.Manager {
		t.Helper()
		ctl("add_user", user, "secret")
		t.Cleanup(func() { n.Ctl(context.Background(), "delete_user", user) })
		ctl(append([]string{"set_permissions", user}, rights...)...)
		u, err := url.Parse(n.URL())
		must(t, err)
		u.User = url.UserPassword(user, "secret")
		return open(t, u.String())
	}
	admin := open(t, n.URL())
	method := service(t, admin)
	name := method.Service
	own := "^rabbitrpc(\\." + name + "(\\.instance\\..+)?)?$"
	full := as("full", own, "^(rabbitrpc\\."+name+"(\\.instance\\..+)?|amq\\.default)$", own)
	ctl("set_topic_permissions", "full", "rabbitrpc", "^$", "^(call\\."+name+"|discover(\\."+name+")?)$")
	queue, answer := "rabbitrpc\\."+name+"\\.instance\\..+", "amq\\.default"
	provisioned := as("provisioned", "^"+queue+"$", "^("+queue+"|"+answer+")$", own)
	ctl("set_topic_permissions", "provisioned", "rabbitrpc", "^$", "^discover(\\."+name+")?$")
	older := "^rabbitrpc(\\." + name + ")?$"
	less := as("less", older, "^(rabbitrpc\\."+name+"|amq\\.default)$", older)

	serve(t, full, method, double, server.WithName("full"))
	serve(t, provisioned, method, double, server.WithName("provisioned")) // which may declare nothing else
	var log safeBuffer
	serve(t, less, method, double, server.WithName("less"), server.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	wait(t, "the log to say it", func() bool { return strings.Contains(log.String(), "cannot be discovered") })
	d := discovery(t, admin)
	wait(t, "the instances that may", func() bool {
		var names []string
		for _, a := range instances(t, d, name) {
			names = append(names, a.Name)
		}
		slices.Sort(names)
		return slices.Equal(names, []string{"full", "provisioned"})
	})

	web := as("web", "^amq\\.gen-", "^rabbitrpc(\\."+name+")?$", "^amq\\.gen-")
	if got := instances(t, discovery(t, web), name); len(got) != 2 {
		t.Errorf("a client finds %d instances, want 2", len(got))
	}
	ctl("set_topic_permissions", "web", "rabbitrpc", "^$", "")
	c := newClient(t, web)
	for range 3 {
		got, err := call(t, c, method, 21)
		if got != 42 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
		var last error
		for _, err := range discovery(t, web).Instances(t.Context(), name, client.AskPing, time.Second) {
			last = err
		}
		if !errors.Is(last, conn.ErrRefused) {
			t.Errorf("a client that may only call: got %v, want refused", last)
		}
	}
	if got := c.Stats().Resent; got != 0 {
		t.Errorf("%d attempts were lost with their session", got)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/rights"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/topology"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const limited, limitedPlain = "limited", "limited plain.queue+"

// A cast is all users of a service: those with exactly the rights that permissions prints, and for each part of each right
// another that lacks just that.
type cast struct {
	t       *testing.T
	lacking map[string][]string // users that lack something, by who they would be
}

func newCast(t *testing.T) *cast {
	t.Helper()
	c := &cast{t: t, lacking: make(map[string][]string)}
	scope := rights.Scope{Vhost: "/", Services: []string{limited, "other"}, Queue: limitedPlain, Discovery: true}
	with := rights.Of(rights.Users{Client: "web", PlainClient: "pika", Observer: "eye", Server: "worker", Provisioner: "ops"}, scope)
	alone := rights.Of(rights.Users{Server: "alone"}, scope)
	topics := make(map[string]rights.Permission)
	for _, p := range append(with.TopicPermissions, alone.TopicPermissions...) {
		topics[p.User] = p
	}
	var commands []string
	add := func(p rights.Permission, topics rights.Permission) {
		commands = append(commands, fmt.Sprintf("rabbit_auth_backend_internal:add_user(%s, <<\"secret\">>, <<\"test\">>)", erlang(p.User)),
			fmt.Sprintf("rabbit_auth_backend_internal:set_permissions(%s, <<\"/\">>, %s, %s, %s, <<\"test\">>)",
				erlang(p.User), erlang(*p.Configure), erlang(p.Write), erlang(p.Read)))
		if topics.User != "" {
			commands = append(commands, fmt.Sprintf("rabbit_auth_backend_internal:set_topic_permissions(%s, <<\"/\">>, %s, %s, %s, <<\"test\">>)",
				erlang(p.User), erlang(topics.Exchange), erlang(topics.Write), erlang(topics.Read)))
		}
	}
	for _, p := range append(with.Permissions, alone.Permissions...) {
		may := topics[p.User]
		add(p, may)
		for _, less := range without(p) {
			c.lacking[p.User] = append(c.lacking[p.User], less.User)
			add(less, may)
		}
		for _, less := range without(may) {
			c.lacking[p.User] = append(c.lacking[p.User], less.User)
			p.User = less.User
			add(p, less)
		}
	}
	_, err := testbroker.Node(t).Ctl(t.Context(), "eval", strings.Join(commands, ", ")+".")
	c.must(err)
	return c
}

// without returns p less each alternative of each of its patterns.
func without(p rights.Permission) (all []rights.Permission) {
	kind, configure := "", ""
	if p.Configure != nil {
		configure = *p.Configure
	} else {
		kind = "topic "
	}
	for _, right := range []struct {
		name    string
		pattern string
		set     func(p *rights.Permission, pattern string)
	}{
		{"configure", configure, func(p *rights.Permission, s string) { p.Configure = &s }},
		{"write", p.Write, func(p *rights.Permission, s string) { p.Write = s }},
		{"read", p.Read, func(p *rights.Permission, s string) { p.Read = s }},
	} {
		alternatives := strings.Split(strings.Trim(right.pattern, "^()$"), "|")
		for i, name := range alternatives {
			if name == "" || strings.Contains(name, "other") {
				continue
			}
			less := p
			less.User = fmt.Sprintf("%s without %s %s%s", p.User, right.name, kind, name)
			rest := slices.Delete(slices.Clone(alternatives), i, i+1)
			right.set(&less, "^("+strings.Join(rest, "|")+")$")
			all = append(all, less)
		}
	}
	return all
}

func erlang(s string) string {
	return `<<"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `">>`
}

func (c *cast) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cast) open(user string) *conn.Manager {
	c.t.Helper()
	at, err := url.Parse(testbroker.URL(c.t))
	c.must(err)
	at.User = url.UserPassword(user, "secret")
	if user == "" {
		at.User = url.UserPassword("guest", "guest")
	}
	m, err := conn.Open(c.t.Context(), at.String(), conn.WithLogger(slog.New(slog.DiscardHandler)))
	c.must(err)
	c.t.Cleanup(func() { m.Close(context.Background()) })
	return m
}

func (c *cast) wanted() *topology.Service {
	return &topology.Service{Topology: wire.NewTopology(limited, 0, 0), Plain: limitedPlain}
}

// provision declares as somebody, after all is gone.
func (c *cast) provision(user string) error {
	c.t.Helper()
	s, err := c.open("").Session(c.t.Context())
	c.must(err)
	c.must(topology.Delete(c.t.Context(), s, c.wanted(), true, func(string) {}))
	if user == "" {
		return nil
	}
	if s, err = c.open(user).Session(c.t.Context()); err != nil {
		return err
	}
	return topology.Declare(c.t.Context(), s, c.wanted(), func(string) {})
}

var limitedDouble = rpc.Method[int, int]{Service: limited, Name: "double"}

// A poisoner is a store that says of one call that it was started in vain again and again.
type poisoner struct{ idempotency.Store }

func (p poisoner) Begin(ctx context.Context, k idempotency.Key, f idempotency.Fingerprint) (idempotency.Begun, error) {
	begun, err := p.Store.Begin(ctx, k, f)
	if k.ID == "poison" {
		begun.State, begun.Claims = idempotency.Orphaned, 9
	}
	return begun, err
}

// A serving is a server that somebody runs.
type serving struct {
	ready bool   // false if that did not come to be
	stop  func() // it, and wait for its end
	log   *locked
}

// locked is a log that is read while it is written.
type locked struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func (c *cast) serve(user string) *serving {
	c.t.Helper()
	lru, err := idempotency.NewLRU()
	c.must(err)
	p := &serving{log: new(locked)}
	s, err := server.New(c.open(user), limited, server.WithQueue(limitedPlain, limitedDouble.Name), server.WithStore(poisoner{lru}),
		server.WithLogger(slog.New(slog.NewTextHandler(p.log, nil))))
	c.must(err)
	server.Handle(s, limitedDouble, func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	p.stop = func() { cancel(); c.must(<-ended) }
	wait := patience
	if strings.Contains(user, "without") {
		wait = soon
	}
	select {
	case <-s.Ready():
		p.ready = true
	case <-time.After(wait):
	}
	return p
}

// lacksNothing reports whether a server takes calls and can be discovered.
func (c *cast) lacksNothing(p *serving) bool {
	return p.ready && c.call(c.open("web"), soon) == nil && !c.hidden(p)
}

// hidden waits until a server says that it cannot be discovered, or can be.
func (c *cast) hidden(p *serving) bool {
	c.t.Helper()
	m := c.open("eye")
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if p.log.has("cannot be discovered") {
			return true
		}
		if c.ask(m, limited) == nil {
			return false
		}
	}
	c.t.Error("a server can neither be discovered nor says that it cannot")
	return true
}

// ask asks for the instances of a service, "" for all. Nobody is an error, too.
func (c *cast) ask(m conn.Connector, service string) error {
	d := client.NewDiscovery(m)
	defer d.Close(context.Background())
	for _, err := range d.Instances(c.t.Context(), service, client.AskPing, soon) {
		return err
	}
	return errors.New("no instance")
}

// without43 refuses looks at queues, as RabbitMQ 4.3 does without the right to configure them.
type without43 struct{ conn.Connector }
type session43 struct{ conn.Session }

func (w without43) Session(ctx context.Context) (conn.Session, error) {
	s, err := w.Connector.Session(ctx)
	return session43{s}, err
}
func (session43) InspectQueue(context.Context, string) (conn.QueueInfo, error) {
	return conn.QueueInfo{}, &conn.Error{Code: 403, Reason: "ACCESS_REFUSED"}
}

// call calls through a connector.
func (c *cast) call(m conn.Connector, timeout time.Duration, opts ...client.Option) error {
	c.t.Helper()
	cl, err := client.New(m, append(opts, client.WithTimeout(timeout))...)
	c.must(err)
	defer cl.Close(context.Background())
	got, err := client.Call(c.t.Context(), cl, limitedDouble, 21)
	if err == nil && got != 42 {
		err = fmt.Errorf("got %d, want 42", got)
	}
	return err
}

// fails checks that something fails for each user who lacks something of what a user has.
func (c *cast) fails(user string, do func(m conn.Connector) error) {
	c.t.Helper()
	var wg sync.WaitGroup
	for _, less := range c.lacking[user] {
		wg.Go(func() {
			if do(c.open(less)) == nil {
				c.t.Errorf("%s: lacks nothing", less)
			}
		})
	}
	wg.Wait()
}

const soon = 300 * time.Millisecond // for what cannot be

package status

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// maxCalled is how many services that are called are shown: those of the latest calls.
const maxCalled = 32

// A Board is told what the process has, and knows what it does. Make it with [New], and add all before Run.
type Board struct {
	name, version, host string
	start               time.Time
	errors              errorLog
	answered, called    *recorder

	links   []*link
	servers []served
	clients []*client.Client
}

type served struct {
	service string
	server  Server
	store   *idempotency.LRU // may be nil
}

// A Server is what a [Board] looks at of a server. A server.Server is one.
type Server interface {
	State() server.State
	Stats() server.Stats
}

// New makes a board for a command by its name and version.
func New(name, version string) *Board {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	b := &Board{name: name, version: version, host: printable(host), start: time.Now()}
	b.answered, b.called = newRecorder("answered", &b.errors), newRecorder("called", &b.errors)
	return b
}

// Answered is the interceptor for servers: it counts what they answer.
func (b *Board) Answered(next rpc.Handler) rpc.Handler { return b.answered.intercept(next) }

// Called is the interceptor for clients: it counts the calls that they make.
func (b *Board) Called(next rpc.Handler) rpc.Handler { return b.called.intercept(next) }

// AddLink adds a connection by its name, which is one of the checks too.
func (b *Board) AddLink(name string, l Link) { b.links = append(b.links, &link{name: name, Link: l}) }

// AddServer adds the server of a service, which is one of the checks too, and its memory unless that is nil.
func (b *Board) AddServer(service string, s Server, store *idempotency.LRU) {
	b.servers = append(b.servers, served{service, s, store})
}

// AddClient adds a client.
func (b *Board) AddClient(c *client.Client) { b.clients = append(b.clients, c) }

// Run takes note of what happens to the connections until ctx ends.
func (b *Board) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range b.links {
		wg.Go(func() { l.watch(ctx) })
	}
	wg.Wait()
}

// Checks says what must be so for the process to be ready: connected, and each service takes calls.
func (b *Board) Checks() []Check {
	checks := make([]Check, 0, len(b.links)+len(b.servers))
	for _, l := range b.links {
		checks = append(checks, l.check())
	}
	for _, s := range b.servers {
		checks = append(checks, s.check())
	}
	return checks
}

// Ready reports whether all checks are passed.
func Ready(checks []Check) bool {
	for _, c := range checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// Status says what the process is doing.
func (b *Board) Status() Status {
	checks := b.Checks()
	s := Status{
		Name: b.name, At: time.Now().UTC(), Ready: Ready(checks), Checks: checks, Process: b.process(),
		Connections: []Connection{}, Services: []Service{}, Called: []Called{}, Errors: b.errors.latest(),
	}
	for _, l := range b.links {
		s.Connections = append(s.Connections, l.connection())
	}
	for _, served := range b.servers {
		s.Services = append(s.Services, b.service(served))
	}
	for _, c := range b.clients {
		s.Called = append(s.Called, b.calledBy(c)...)
	}
	return s
}

func (s served) check() Check {
	state := s.server.State()
	c := Check{
		Name: "service " + s.service, OK: state.Phase == server.Serving, For: time.Since(state.Since).Seconds(), Text: state.Phase.String(),
	}
	if state.Err != nil {
		c.Text += ": " + printable(cut(state.Err.Error(), maxText))
	}
	return c
}

func (b *Board) service(s served) Service {
	stats, check := s.server.Stats(), s.check()
	state, why, _ := strings.Cut(check.Text, ": ")
	out := Service{
		Name: s.service, State: state, For: check.For, Text: why,
		Running: stats.Running, Limit: stats.Limit, Answered: stats.Answered, Replayed: stats.Replayed, Refused: stats.Refused,
		Rejected: stats.Rejected, Dropped: stats.Dropped, Expired: stats.Expired, Overdue: stats.Overdue, Panics: stats.Panics,
		Parked: stats.Parked,
	}
	if s.store != nil {
		held := s.store.Stats()
		out.Store = &Store{Entries: held.Entries, Bytes: held.Bytes, Shed: held.ShedForRoom + held.ShedForShare}
	}
	out.Traffic, out.Methods = b.answered.traffic(s.service)
	return out
}

func (b *Board) calledBy(c *client.Client) (all []Called) {
	services := c.Services()
	for _, s := range services[:min(len(services), maxCalled)] {
		service := strings.TrimPrefix(s.Queue, wire.Queue(""))
		traffic, _ := b.called.traffic(service)
		all = append(all, Called{Name: printable(service), Presence: s.Presence, Breaker: s.Breaker, Traffic: traffic})
	}
	return all
}

package status

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const (
	maxCalled = 32       // services that are shown of each client: those of the latest calls
	other     = "_other" // is the method of requests for one that is not registered, as in the metrics
)

// A Board knows what a process does. Make it with [New], and give its hooks to all that the process has. It may be asked from
// any number of goroutines, and never waits for anything.
type Board struct {
	name, version, host string
	start               time.Time
	links               []*Link
	servers             func() []*server.Server // nil for a process that serves nothing
	clients             []*client.Client
	untils              []*until
	errors              errorLog
	answered, called    *recorder
}

// New makes a board for a command, by its name and version.
func New(name, version string) *Board {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Board{
		name: name, version: version, host: printable(host), start: time.Now(), answered: newRecorder(), called: newRecorder(),
	}
}

// Link adds a connection by its name, before the board is asked.
func (b *Board) Link(name string) *Link {
	l := &Link{name: name, since: time.Now()}
	b.links = append(b.links, l)
	return l
}

// Serve has the board ask f for the servers, before it is asked itself. While there are none the process is not ready.
func (b *Board) Serve(f func() []*server.Server) { b.servers = f }

// Watch adds a client, before the board is asked.
func (b *Board) Watch(c *client.Client) { b.clients = append(b.clients, c) }

// ServerHooks returns what servers are to be given, with [server.WithHooks].
func (b *Board) ServerHooks() server.Hooks {
	return server.Hooks{RequestEnded: func(_ context.Context, e server.RequestEnded) {
		m := method{e.Request.Service, e.Method}
		if m.name == "" {
			m.name = other
		}
		took := e.Handled
		if !e.Ran {
			took = -1
		}
		b.answered.add(m, took, e.Err != nil)
		if e.Err != nil {
			b.errors.add("answered", m, e.Request.ID, e.Err)
		}
	}}
}

// ClientHooks returns what clients are to be given, with [client.WithHooks].
func (b *Board) ClientHooks() client.Hooks {
	return client.Hooks{CallEnded: func(_ context.Context, e client.CallEnded) {
		m := method{e.Request.Service, e.Request.Method}
		b.called.add(m, e.Took, e.Err != nil)
		if e.Err != nil {
			b.errors.add("called", m, e.Request.ID, e.Err)
		}
	}}
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
	if b.servers != nil {
		for _, server := range b.servers() {
			s.Services = append(s.Services, b.service(server))
		}
	}
	for _, c := range b.clients {
		s.Called = append(s.Called, b.calledBy(c)...)
	}
	return s
}

func (b *Board) service(s *server.Server) Service {
	stats, state := s.Stats(), s.State()
	out := Service{
		Name: s.Service(), State: state.Phase.String(), For: time.Since(state.Since).Seconds(),
		Running: stats.Running, Limit: stats.Limit, Answered: stats.Answered, Replayed: stats.Replayed, Refused: stats.Refused,
		Rejected: stats.Rejected, Dropped: stats.Dropped, Expired: stats.Expired, Overdue: stats.Overdue, Panics: stats.Panics,
		Parked: stats.Parked,
	}
	if held, ok := s.StoreStats(); ok {
		out.Store = &Store{Entries: held.Entries, Bytes: held.Bytes, Shed: held.ShedForRoom + held.ShedForShare}
	}
	out.Traffic, out.Methods = b.answered.traffic(s.Service())
	return out
}

func (b *Board) calledBy(c *client.Client) (all []Called) {
	services := c.Services()
	for _, s := range services[:min(len(services), maxCalled)] {
		name, service := s.Queue, "" // calls to a plain queue name none
		if of, ok := strings.CutPrefix(s.Queue, wire.Queue("")); ok {
			name, service = of, of
		}
		traffic, _ := b.called.traffic(service)
		all = append(all, Called{Name: printable(name), Presence: s.Presence, Breaker: s.Breaker, Traffic: traffic})
	}
	return all
}

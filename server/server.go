// Package server answers calls to a service over RabbitMQ.
//
//	s, err := server.New(m, "math", server.WithWorkers(64))
//	server.Handle(s, Fib, func(ctx context.Context, n int) (uint64, error) {
//		if n < 0 || n > 93 {
//			return 0, rpc.Errorf(rpc.InvalidArgument, "n must be 0 to 93, got %d", n)
//		}
//		return fib(n), nil
//	})
//	err = s.Run(ctx) // blocks; drains when ctx ends
//
// # Guarantees
//
// What comes in is checked before a handler sees it, and a request out of bounds gets an error reply: it is never put
// back, and never breaks the server. A reply is stored before it is sent, and sent before its request is acknowledged:
// a request that is delivered again, or sent again by its caller, gets the stored reply for as long as the store
// remembers. By default that is an LRU in this process, see [idempotency.LRU] for what it promises.
//
// An *[rpc.Error] of a handler crosses the wire as it is. Any other error crosses as the code unknown with a fixed text,
// a panic as internal; their own texts stay in this server's log.
//
// # Concurrency
//
// Up to WithWorkers handlers run at a time, each on its own goroutine.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A Server answers the calls to one service. Make it with [New], register its methods, then Run it.
type Server struct {
	conn     conn.Connector
	service  string
	id       string    // of this instance
	born     time.Time // when it was made
	opts     options
	topology wire.Topology
	methods  map[string]rpc.Handler
	schemas  map[string]func() rpc.Description // of the methods whose types are known
	handler  rpc.Handler
	stats    stats
	direct   *direct
	gate     *gate
	last     chan struct{} // closed when nothing more is to be started
	limit    *limit        // may be nil
	largest  largest
	struck   int // sessions in a row that met what cannot be read; Run's own

	answering atomic.Int64   // requests that workers are at
	resending sync.WaitGroup // of answers of sessions that are over
	watches   sync.Pool      // of *watch

	parkedReturned atomic.Int64 // requests that did not get into the parked queue

	started   atomic.Bool
	ready     chan struct{}
	readyOnce sync.Once

	stateMu sync.Mutex // guards state
	state   State

	unheard            sync.Once // to say that it cannot be discovered
	outlets            outlets   // for answers whose session has ended
	strays             *strays   // replies that the broker has returned
	unanswered, denied throttle  // of what strangers can cause: a flood of the one must not hide the other
	split              throttle  // of replies that only another node of the broker takes
}

// New makes a server for a service, whose name has 1 to 100 letters, digits, '-' and '_'. It does no I/O: Run does.
func New(c conn.Connector, service string, opts ...Option) (*Server, error) {
	o, err := newOptions(service, opts)
	if err != nil {
		return nil, err
	}
	s := &Server{
		conn:     c,
		service:  service,
		id:       rand.Text(),
		born:     time.Now(),
		opts:     o,
		topology: wire.NewTopology(service, o.quorum, o.maxQueue),
		methods:  make(map[string]rpc.Handler),
		schemas:  make(map[string]func() rpc.Description),
		ready:    make(chan struct{}),
		gate:     newGate(),
		last:     make(chan struct{}),
		state:    State{Since: time.Now()},
	}
	s.largest.own = o.limits.Reply
	s.watches.New = s.newWatch
	s.strays = newStrays(s)
	s.direct = newDirect(c, max(1, o.workers/2)) // the other half goes on, whatever comes
	if o.adaptive > 0 {
		s.limit = newLimit(o.adaptive, o.workers)
	}
	s.handler = s.chain()
	return s, nil
}

// chain is what a request passes on its way to its handler. The limits come first: what they refuse is to cost little.
func (s *Server) chain() rpc.Handler {
	var chain []rpc.Interceptor
	if s.opts.tenant > 0 {
		chain = append(chain, s.limitTenants)
	}
	if s.limit != nil {
		chain = append(chain, s.adapt)
	}
	chain = append(chain, s.opts.interceptors...)
	if s.opts.store != nil {
		chain = append(chain, idempotency.Interceptor(s.opts.store))
	}
	return rpc.Chain(s.dispatch, append(chain, s.again, s.verdict)...)
}

// Handle registers the handler of a method. It panics if that cannot be right: a name that is taken or no name at all, no handler, or
// a server that runs already.
func (s *Server) Handle(method string, h rpc.Handler) {
	if s.started.Load() {
		panic("server: Handle after Run")
	}
	if err := wire.CheckMethod(method); err != nil {
		panic("server: " + err.Error())
	}
	if strings.HasPrefix(method, "rpc.") {
		panic("server: method names that begin with rpc. are reserved")
	}
	if h == nil {
		panic("server: method " + method + " has no handler")
	}
	if s.methods[method] != nil {
		panic("server: method " + method + " is registered already")
	}
	s.methods[method] = h
}

// Handle registers fn for m. Requests are decoded, and results encoded, by the content type of the request. Like
// [Server.Handle] it panics on what cannot be right.
func Handle[Req, Res any](s *Server, m rpc.Method[Req, Res], fn func(ctx context.Context, req Req) (Res, error)) {
	if m.Service != s.service {
		panic(fmt.Sprintf("server: method %s belongs to service %s, not %s", m.Name, m.Service, s.service))
	}
	if fn == nil {
		panic("server: method " + m.Name + " has no handler")
	}
	s.Handle(m.Name, func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
		req, err := rpc.Unmarshal[Req](r.ContentType, r.Body)
		if err != nil {
			return nil, undecodable(err)
		}
		res, err := fn(ctx, req)
		if err != nil {
			return nil, err
		}
		body, err := rpc.Marshal(r.ContentType, res)
		if err != nil {
			return nil, prefixed("encode result", err)
		}
		return &rpc.Reply{ContentType: r.ContentType, Body: body, Server: s.opts.name}, nil
	})
	s.schemas[m.Name] = describes(m)
}

// undecodable is the error for a body that is not what the method takes, and no fault of this server's.
func undecodable(err error) *rpc.Error {
	e := prefixed("decode request", err).WithExecuted(rpc.ExecutedNo)
	if e.Code == rpc.Internal {
		e.Code = rpc.InvalidArgument // the content type cannot express it
	}
	return e
}

// prefixed says in which step an error of a codec has happened.
func prefixed(step string, err error) *rpc.Error {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok {
		return rpc.Errorf(rpc.CodeOf(err), "%s: %w", step, err)
	}
	return rpc.Errorf(e.Code, "%s: %s", step, e.Message).WithCause(err)
}

func (s *Server) dispatch(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	j := jobOf(ctx)
	j.executed.Store(true)
	if len(s.opts.requestEnded) == 0 {
		return s.methods[r.Method](ctx, r)
	}
	start := time.Now()
	defer func() { j.handled.Store(int64(time.Since(start))) }()
	return s.methods[r.Method](ctx, r)
}

// Service returns the name of the service.
func (s *Server) Service() string { return s.service }

// Ready is closed when the server takes calls for the first time.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Stats returns what the server has counted since it was made.
func (s *Server) Stats() Stats {
	st := s.stats.snapshot()
	st.Workers, st.Limit = s.opts.workers, s.opts.workers
	if s.limit != nil {
		st.Limit = s.limit.get()
	}
	phase := s.State().Phase
	st.Serving, st.Draining = phase == Serving, phase == Draining
	return st
}

// StoreStats returns what the server's store has counted, if that is an [idempotency.LRU]. Servers that share a store
// share its counters.
func (s *Server) StoreStats() (_ idempotency.Stats, ok bool) {
	lru, ok := s.opts.store.(*idempotency.LRU)
	if !ok {
		return idempotency.Stats{}, false
	}
	return lru.Stats(), true
}

// Package client makes calls to services over RabbitMQ.
//
// A call ends by its deadline, always: with the reply, with the error that the server sent, or with an error that says
// what is known. [rpc.CodeOf] tells the kind of failure, [rpc.Executed] whether the effect may have happened:
//
//	c, err := client.New(m, client.WithTimeout(5*time.Second))
//	v, err := client.Call(ctx, c, Fib, 30)
//	switch {
//	case err == nil: // v is the answer
//	case rpc.CodeOf(err) == rpc.Unavailable: // no server, or no broker
//	case rpc.Executed(err) == rpc.ExecutedUnknown: // it may have run
//	}
//
// # Guarantees
//
// A call is sent again, under the same call ID, when its session is lost or its server dies: at least once, and the
// server's deduplication makes that once wherever its store remembers. A service that nobody serves is an error within
// a round trip to the broker, and leaves nothing in a queue.
//
// # Concurrency
//
// A client serves any number of goroutines. A call costs its caller no goroutine: run many by starting many.
package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A Client makes calls. Make it with [New].
type Client struct {
	conn     conn.Connector
	opts     options
	do       rpc.Handler
	places   chan struct{} // one taken by each call in flight
	pending  pending
	services *services
	sessions announcer[error] // why the one before each has ended
	looks    singleflight.Group
	stats    stats
	ids      ids
	bulk     bulk
	life     context.Context // ends with Close
	endLife  context.CancelFunc
	refusal  atomic.Pointer[refusal] // the last; nil without one
	live     atomic.Pointer[link]    // the current one, if it may be used; only ever set with the mutex locked

	mu      sync.Mutex // guards what follows
	current *link
	watched conn.Session // the last one with a link
	closed  bool

	wg sync.WaitGroup // setting up links, and watching
}

// New makes a client that uses the sessions of c. It does no I/O: the first call does.
func New(c conn.Connector, opts ...Option) (*Client, error) {
	o := options{
		call:     callOptions{timeout: 10 * time.Second, manner: manner{retry: true}},
		name:     uuid.NewString(),
		inFlight: 10_000,
		maxBody:  wire.DefaultLimits.Body,
		maxReply: 16 << 20,
	}
	for _, opt := range opts {
		opt.apply(&o)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	client := &Client{
		conn:     c,
		opts:     o,
		places:   make(chan struct{}, o.inFlight),
		pending:  newPending(),
		services: newServices(o.hooks.Presence),
	}
	client.sessions.hook = o.hooks.Session
	client.life, client.endLife = context.WithCancel(context.Background())
	client.do = rpc.Chain(client.roundTrip, o.interceptors...)
	return client, nil
}

// service returns the service of that name. All are one if their requests go to a queue by its name.
func (c *Client) service(name string) *service {
	if c.opts.queue != "" {
		name = c.opts.queue
	}
	return c.services.get(name, func() *service { return c.newService(name) })
}

func (c *Client) newService(name string) *service {
	s := &service{name: name, queue: c.queue(name), budget: newBudget()}
	s.spend, s.back = s.budget.spend, func() bool { return c.services.returning(s) }
	if !c.opts.noBreaker {
		s.breaker = newBreaker(s.queue, c.opts.hooks.Breaker)
	}
	return s
}

// Do makes one call. It is an [rpc.Handler]: on return exactly one of reply and error is nil, and the error is an
// *[rpc.Error]. The deadline is that of ctx, or the client's timeout from now if that is earlier. Options come with the
// context, see [With]. Do sets ID, Client and Attempt of the request it sends; r itself is not changed.
func (c *Client) Do(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	own := c.begin(ctx)
	defer c.end(own)
	return c.do(own, r)
}

// begin makes the context of a call, until its end.
func (c *Client) begin(ctx context.Context) *callContext {
	return withTimeout(ctx, c.callOptions(ctx).timeout)
}

// end ends the context of a call. An interceptor may have left calls behind that wait with it.
func (c *Client) end(own *callContext) {
	own.End()
	if own.waiting.Load() > 0 {
		c.pending.wakeAll()
	}
}

// Call makes one call of m with the request v: with the options of the client, those of the method over them, and opts
// over both. See [Client.Do].
func Call[Req, Res any](ctx context.Context, c *Client, m rpc.Method[Req, Res], v Req, opts ...CallOption) (Res, error) {
	var none Res
	body, err := encode(m.ContentType, v)
	if err != nil {
		return none, local(rpc.CodeOf(err), rpc.ExecutedNo, fmt.Errorf("encode request: %s", message(err)))
	}
	contentType := m.ContentType
	if contentType == "" {
		contentType = rpc.ContentTypeJSON
	}
	own := c.begin(With(With(ctx, defaults(m)...), opts...))
	defer c.end(own)
	r := &own.call.req
	if len(c.opts.interceptors) > 0 { // they may keep it, or make several calls of it
		r = new(rpc.Request)
	}
	*r = rpc.Request{Service: m.Service, Method: m.Name, ContentType: contentType, Body: body}
	reply, err := c.do(own, r)
	if err != nil {
		return none, err
	}
	if c.opts.queue == "" || reply.ContentType != "" && reply.ContentType != rpc.ContentTypeBytes {
		contentType = reply.ContentType // else of a server that knows nothing of this protocol, and often does not say
	}
	res, err := rpc.Unmarshal[Res](contentType, reply.Body)
	if err != nil {
		return none, local(rpc.Internal, rpc.ExecutedYes, fmt.Errorf("decode reply: %s", message(err)))
	}
	return res, nil
}

// encode makes the body of a request. Bytes are sent as they are: nobody changes them before the call is over.
func encode[T any](contentType string, v T) ([]byte, error) {
	if b, ok := any(v).([]byte); ok && contentType == rpc.ContentTypeBytes {
		return b, nil
	}
	return rpc.Marshal(contentType, v)
}

// defaults are the options that a method carries.
func defaults[Req, Res any](m rpc.Method[Req, Res]) (opts []CallOption) {
	if m.Timeout > 0 {
		opts = append(opts, WithTimeout(m.Timeout))
	}
	if m.AtMostOnce {
		opts = append(opts, AtMostOnce())
	}
	if m.Durable {
		opts = append(opts, Durable())
	}
	return opts
}

// Close ends the calls in flight with the code canceled and gives up the reply queue. It returns when ctx ends at the
// latest; what it has not given up by then it does within seconds.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.live.Store(nil)
	current := c.current
	c.mu.Unlock()
	c.endLife()
	c.pending.wakeAll()
	c.pending.stopAlarm()
	given := make(chan error, 1)
	go func() {
		c.wg.Wait() // for what sets up links, which ends with life
		given <- current.giveUp(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-given:
		return err
	case <-ctx.Done():
		return fmt.Errorf("close client: %w", ctx.Err())
	}
}

// Stats returns what the client has counted since it was made.
func (c *Client) Stats() Stats {
	st := c.stats.snapshot()
	st.InFlight, st.Limit = len(c.places), cap(c.places)
	return st
}

// queue is where the requests to a service are, which tells whether anybody serves it.
func (c *Client) queue(service string) string {
	if c.opts.queue != "" {
		return c.opts.queue
	}
	return wire.Queue(service)
}

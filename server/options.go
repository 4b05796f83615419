package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// An Option changes a default of [New].
type Option func(*options)

type options struct {
	workers      int
	drain        time.Duration
	timeout      time.Duration
	limits       Limits
	name         string
	version      string
	hidden       bool
	user         string
	log          *slog.Logger
	store        idempotency.Store
	interceptors []rpc.Interceptor
	requestEnded []func(context.Context, RequestEnded)
	queue        string         // plain
	method       string         // for messages of the plain queue that name none
	replyTo      *regexp.Regexp // names of queues that its callers may have answered, exclusive or not; may be nil
	quorum       int            // delivery limit of a quorum queue; 0 for a classic one
	maxQueue     int            // requests that may wait in the service's queue; 0 for any number
	poison       int            // how often a request may be started without an end; 0 for ever
	tenant       int            // requests of one tenant at a time; 0 for any number
	adaptive     int            // the least that the adaptive limit may be; 0 for no such limit
	failFast     bool
	authorizer   func(context.Context, *rpc.Request) error
}

func newOptions(service string, opts []Option) (o options, err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	lru, err := idempotency.NewLRU()
	if err != nil {
		return o, err
	}
	o = options{
		workers: 16,
		drain:   30 * time.Second,
		timeout: 30 * time.Second,
		limits:  defaultLimits,
		name:    fmt.Sprintf("%.200s/%d", host, os.Getpid()),
		log:     slog.Default(),
		store:   lru,
		poison:  5,
	}
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.validate(); err != nil {
		return o, err
	}
	if err := wire.CheckService(service); err != nil {
		return o, err
	}
	if o.queue == wire.Queue(service) {
		return o, fmt.Errorf("queue %s is the service's own: it is served without WithQueue", o.queue)
	}
	o.log = slog.New(printableHandler{o.log.Handler()})
	return o, nil
}

// startLimit is how often a request may be started in vain before it is parked. The broker must not give up first: it has
// no place for parked requests.
func (o *options) startLimit() int {
	if o.poison > 0 && o.quorum > 0 {
		return min(o.poison, o.quorum)
	}
	return o.poison
}

// parks reports whether a request may come to be parked: somebody counts how often it was started.
func (o *options) parks() bool {
	_, forgets := o.store.(*idempotency.LRU)
	return o.poison > 0 && (o.quorum > 0 || o.store != nil && !forgets)
}

const maxWorkers = 10_000

func (o *options) validate() error {
	switch {
	case o.log == nil:
		return errors.New("the logger is nil")
	case o.workers < 1 || o.workers > maxWorkers:
		return fmt.Errorf("workers must be 1 to %d, got %d", maxWorkers, o.workers)
	case o.drain < 0:
		return fmt.Errorf("drain limit must not be negative, got %v", o.drain)
	case o.timeout < time.Millisecond || o.timeout > maxTimeout:
		return fmt.Errorf("timeout must be 1ms to %v, got %v", maxTimeout, o.timeout)
	case o.name == "" || len(o.name) > 255:
		return fmt.Errorf("name must have 1 to 255 bytes, got %d", len(o.name))
	case len(o.version) > 255:
		return fmt.Errorf("version must have at most 255 bytes, got %d", len(o.version))
	case len(o.user) > 255:
		return fmt.Errorf("user must have at most 255 bytes, got %d", len(o.user))
	case len(o.queue) > 255:
		return fmt.Errorf("queue must have at most 255 bytes, got %d", len(o.queue))
	case o.quorum < 0 || o.quorum > 1000:
		return fmt.Errorf("delivery limit must be 1 to 1000, got %d", o.quorum)
	case o.replyTo != nil && o.queue == "":
		return errors.New("WithReplyTo is for the callers of a plain queue: it needs WithQueue")
	case o.maxQueue < 0:
		return fmt.Errorf("queue must have room for 1 request or more, got %d", o.maxQueue)
	case o.tenant < 0 || o.tenant > maxWorkers:
		return fmt.Errorf("tenant limit must be 1 to %d, got %d", maxWorkers, o.tenant)
	case o.adaptive < 0 || o.adaptive > o.workers:
		return fmt.Errorf("least adaptive limit must be 1 to %d, the workers, got %d", o.workers, o.adaptive)
	case o.poison < 0 || o.poison > 1000:
		return fmt.Errorf("poison limit must be 0 to 1000, got %d", o.poison)
	}
	return o.limits.validate()
}

// WithWorkers sets how many handlers run at a time, and how many requests the broker hands over at a time: 1 to 10000,
// default 16.
func WithWorkers(n int) Option { return func(o *options) { o.workers = n } }

// WithDrain sets how long running handlers may take once Run is to end; then their contexts are cancelled. Default 30s.
func WithDrain(d time.Duration) Option { return func(o *options) { o.drain = d } }

// WithTimeout sets the time for requests that bring no timeout of their own, as they may on a plain queue: 1ms to 24h,
// default 30s. It is never longer than Limits.Timeout.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithName names this instance in its replies, 1 to 255 bytes. Default: host and process id.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithVersion sets the version of the service that discovery shows: at most 255 bytes. Default: none.
func WithVersion(v string) Option { return func(o *options) { o.version = v } }

// WithoutDiscovery switches discovery off: callers who may publish to the exchange rabbitrpc, but may not call this
// service, learn no name, method, version or count. It also saves a session.
func WithoutDiscovery() Option { return func(o *options) { o.hidden = true } }

// WithUser puts this RabbitMQ user into each reply. It must be the user that the server's connection has logged in as:
// else the broker ends the session, and the server takes no calls for 30 s. Callers can require it, see
// client.WithServerUser. Default: none.
func WithUser(name string) Option { return func(o *options) { o.user = name } }

// WithLogger sets where failures are logged. Default: slog.Default.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithStore sets where answered calls are remembered. With nil they are not: each attempt that arrives is executed.
// Default: an LRU in this process.
func WithStore(s idempotency.Store) Option { return func(o *options) { o.store = s } }

// WithInterceptors wraps each request that passed its checks; the first is the outermost. They see duplicates too. One
// that answers a request itself, with an error, should say so: WithExecuted(rpc.ExecutedNo).
func WithInterceptors(i ...rpc.Interceptor) Option {
	return func(o *options) { o.interceptors = append(o.interceptors, i...) }
}

// WithQueue also serves the plain queue of that name, for callers that know nothing of this protocol, such as the client
// of RabbitMQ's tutorial 6. Messages without a type go to method. If the queue exists, it is used as it is.
func WithQueue(name, method string) Option {
	return func(o *options) { o.queue, o.method = name, method }
}

// WithReplyTo lets callers of the plain queue get their replies in queues whose whole name matches the pattern, such as
// a durable one that several of them share. Without it, a reply queue with a name of its own must be exclusive. The
// server writes, with its own rights, into any queue with such a name, so the pattern must match no queue that holds
// anything but replies. The queues of services, and this plain queue, are never answered, whatever the pattern.
func WithReplyTo(pattern *regexp.Regexp) Option {
	return func(o *options) {
		if pattern == nil {
			return
		}
		whole := *pattern
		whole.Longest() // or a match could end early
		o.replyTo = &whole
	}
}

// WithQuorumQueue makes the service's queue a quorum queue, which survives the loss of a node and contains a request that
// kills its servers: after limit failed deliveries, 1 to 1000, it goes back to its caller.
func WithQuorumQueue(limit int) Option { return func(o *options) { o.quorum = limit } }

// WithMaxQueue bounds how many requests may wait in the service's queue. Requests that workers have are not counted,
// and plain queues are not bounded. A request that finds the queue full goes back to its caller at once:
// resource_exhausted. In a quorum queue it takes the place of the oldest request, which goes back instead, even a
// durable one. A queue that exists keeps its bound, and a server that wants another one does not start. Default: no
// bound.
func WithMaxQueue(n int) Option { return func(o *options) { o.maxQueue = n } }

// WithPoisonLimit sets how often a request may be given to servers that do not live to answer it, 0 to 1000, default 5. Then
// it is not started again but parked, in the queue rabbitrpc.SERVICE.parked, and its caller told: internal,
// ExecutedUnknown. 0 is for ever.
//
// Somebody must count: a quorum queue does, up to its own limit, and so does a store that survives and claims before it
// runs: idempotency/bolt, and postgres without transactions. With a classic queue and any other store nobody does. What runs
// beside a request that kills its server is counted too: the limit leaves it the time to end in another try.
func WithPoisonLimit(n int) Option { return func(o *options) { o.poison = n } }

// WithFailFast makes Run return an error when the broker takes away what the server needs, so that a supervisor can
// decide: the queue is deleted, its leader lost, a right revoked, an acknowledgement overdue. By default the server
// makes a new session, declares everything again, and goes on within a second. A lost connection does not end Run. A
// refusal that others caused who share the connection does.
func WithFailFast() Option { return func(o *options) { o.failFast = true } }

// WithAuthorizer asks f whether a request may be executed, after its bounds were checked, and before its body is
// decoded, its method looked up, or any interceptor or store sees it. User is the RabbitMQ user that the broker has
// checked, if the request names one; Client, Method and Header are set by the caller, and not checked. An *[rpc.Error] of
// f crosses the wire as it is; any other error crosses as permission_denied, and its text goes to the log. Either way
// the call was not executed.
func WithAuthorizer(f func(ctx context.Context, r *rpc.Request) error) Option {
	return func(o *options) { o.authorizer = f }
}

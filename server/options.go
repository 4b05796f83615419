package server

import (
	"fmt"
	"log/slog"
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
	limits       wire.Limits
	name         string
	user         string
	log          *slog.Logger
	store        idempotency.Store
	interceptors []rpc.Interceptor
	queue        string // plain
	method       string // for messages of the plain queue that name none
	quorum       int    // delivery limit of a quorum queue; 0 for a classic one
}

const maxWorkers = 10_000

func (o *options) validate() error {
	switch {
	case o.workers < 1 || o.workers > maxWorkers:
		return fmt.Errorf("workers must be 1 to %d, got %d", maxWorkers, o.workers)
	case o.drain < 0:
		return fmt.Errorf("drain limit must not be negative, got %v", o.drain)
	case o.timeout < time.Millisecond || o.timeout > o.limits.Timeout:
		return fmt.Errorf("timeout must be 1ms to %v, got %v", o.limits.Timeout, o.timeout)
	case o.limits.Body < 1:
		return fmt.Errorf("body limit must be at least 1, got %d", o.limits.Body)
	case o.name == "" || len(o.name) > 255:
		return fmt.Errorf("name must have 1 to 255 bytes, got %d", len(o.name))
	case len(o.user) > 255:
		return fmt.Errorf("user must have at most 255 bytes, got %d", len(o.user))
	case len(o.queue) > 255:
		return fmt.Errorf("queue must have at most 255 bytes, got %d", len(o.queue))
	case o.quorum < 0 || o.quorum > 1000:
		return fmt.Errorf("delivery limit must be 1 to 1000, got %d", o.quorum)
	}
	return nil
}

// WithWorkers sets how many handlers run at a time, and how many requests the broker hands over at a time: 1 to 10000,
// default 16.
func WithWorkers(n int) Option { return func(o *options) { o.workers = n } }

// WithDrain sets how long running handlers may take once Run is to end; then their contexts are cancelled. Default 30s.
func WithDrain(d time.Duration) Option { return func(o *options) { o.drain = d } }

// WithTimeout sets the time for requests that bring no timeout of their own, as they may on a plain queue: 1ms to 24h,
// default 30s.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithMaxBody sets how many bytes a request and a reply may have. Default 4 MiB.
func WithMaxBody(n int) Option { return func(o *options) { o.limits.Body = n } }

// WithName names this instance in its replies, 1 to 255 bytes. Default: host and process id.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithUser says in each reply that it comes from this RabbitMQ user, which must be the one that the server's connection has
// logged in as: the broker checks it, and ends the session if it is not. Callers can insist on it. Default: not said.
func WithUser(name string) Option { return func(o *options) { o.user = name } }

// WithLogger sets where failures are said. Default: slog.Default.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithStore sets the memory of the answered calls; nil for none: then each attempt that arrives is executed. Default:
// an LRU in this process.
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

// WithQuorumQueue makes the service's queue a quorum queue, which survives the loss of a node and contains a request that
// kills its servers: after limit failed deliveries, 1 to 1000, it goes back to its caller.
func WithQuorumQueue(limit int) Option { return func(o *options) { o.quorum = limit } }

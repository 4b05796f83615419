package client

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// An Option changes a default of [New]. Each [CallOption] is one: it then holds for all calls.
type Option interface{ apply(*options) }

type options struct {
	call         callOptions
	name         string
	user         string
	queue        string
	inFlight     int
	maxBody      int
	maxReply     int
	serverUser   string
	noBreaker    bool
	hooks        Hooks
	interceptors []rpc.Interceptor
}

type clientOption func(*options)

func (f clientOption) apply(o *options) { f(o) }

func (o *options) validate() error {
	switch {
	case o.name == "" || len(o.name) > 255:
		return fmt.Errorf("name must have 1 to 255 bytes, got %d", len(o.name))
	case len(o.user) > 255:
		return fmt.Errorf("user must have at most 255 bytes, got %d", len(o.user))
	case len(o.queue) > 255:
		return fmt.Errorf("queue must have at most 255 bytes, got %d", len(o.queue))
	case o.queue != "" && o.call.durable:
		return errPlain
	case o.inFlight < 1:
		return fmt.Errorf("calls in flight must be at least 1, got %d", o.inFlight)
	case o.maxBody < 1:
		return fmt.Errorf("body limit must be at least 1, got %d", o.maxBody)
	case o.maxReply < 1:
		return fmt.Errorf("reply limit must be at least 1, got %d", o.maxReply)
	}
	return o.call.validate()
}

// WithName sets the name of the client, 1 to 255 bytes. Servers deduplicate within one name: a program that wants its
// stored replies after a restart needs the same name again. Default: random, for this client alone.
func WithName(name string) Option { return clientOption(func(o *options) { o.name = name }) }

// WithUser puts this RabbitMQ user into each request. It must be the user that the client's connection has logged in
// as: else the broker ends the session. Servers that authorize or limit by user require it. Default: none.
func WithUser(name string) Option { return clientOption(func(o *options) { o.user = name }) }

// WithQueue sends all calls to a queue by its name, to be answered by a server that knows nothing of this protocol, such
// as that of RabbitMQ's tutorial 6 on "rpc_queue". Its errors cannot be told from replies.
func WithQueue(name string) Option { return clientOption(func(o *options) { o.queue = name }) }

// WithMaxInFlight sets how many calls may be in flight: further calls wait for room until their deadlines. At least 1,
// default 10000.
func WithMaxInFlight(n int) Option { return clientOption(func(o *options) { o.inFlight = n }) }

// WithMaxBody sets how many bytes a request may have. Default 4 MiB, as for servers.
func WithMaxBody(n int) Option { return clientOption(func(o *options) { o.maxBody = n }) }

// WithMaxReply sets how many bytes the body of a reply may have. The call of a longer one, of which no more than that is kept, ends
// with resource_exhausted, ExecutedYes. Default 16 MiB, which is what RabbitMQ lets through by default since 4.0.
func WithMaxReply(n int) Option { return clientOption(func(o *options) { o.maxReply = n }) }

// WithServerUser drops replies that do not come from this RabbitMQ user. Servers must name it in their replies, see
// server.WithUser; the broker checks it. Default: any.
func WithServerUser(name string) Option {
	return clientOption(func(o *options) { o.serverUser = name })
}

// WithoutBreaker lets calls through to services that failed again and again.
func WithoutBreaker() Option { return clientOption(func(o *options) { o.noBreaker = true }) }

// WithHooks tells h what happens, after the hooks that were given before.
func WithHooks(h Hooks) Option { return clientOption(func(o *options) { o.hooks = o.hooks.and(h) }) }

// WithInterceptors wraps each call; the first is the outermost.
func WithInterceptors(i ...rpc.Interceptor) Option {
	return clientOption(func(o *options) { o.interceptors = append(o.interceptors, i...) })
}

// A CallOption says how a call is to be made. As an [Option] of the client it holds for all calls; one of a method or of
// a call wins.
type CallOption func(*callOptions)

func (f CallOption) apply(o *options) { f(&o.call) }

type callOptions struct {
	timeout time.Duration
	id      string
	header  rpc.Header
	manner
}

// A manner is what a call needs of its options until its end.
type manner struct {
	wait     bool // for a server
	failFast bool
	once     bool
	durable  bool
	retry    bool
	priority uint8
	named    bool // by the caller, who may make it again
}

func (o *callOptions) validate() error {
	if o.timeout < time.Millisecond || o.timeout > wire.DefaultLimits.Timeout {
		return fmt.Errorf("timeout must be 1ms to %v, got %v", wire.DefaultLimits.Timeout, o.timeout)
	}
	return nil
}

// WithTimeout sets the longest time that a call may take: 1ms to 24h, default 10s. An earlier deadline of the call's
// context wins.
func WithTimeout(d time.Duration) CallOption { return func(o *callOptions) { o.timeout = d } }

// WaitForServer keeps trying while nobody serves what is called, until the deadline. By default that is an error at once.
func WaitForServer() CallOption { return func(o *callOptions) { o.wait, o.failFast = true, false } }

// FailFast fails at once where a call would wait: for a connection, for a broker that takes no messages, for room among the
// calls in flight, and for servers that are expected back.
func FailFast() CallOption { return func(o *callOptions) { o.failFast, o.wait = true, false } }

// AtMostOnce never sends a call again once it may have been delivered: it fails then, with ExecutedUnknown. Servers refuse such a
// request when it is delivered again. It waits in their queue until one has room, or for the deadline if the last of them has gone.
func AtMostOnce() CallOption { return func(o *callOptions) { o.once = true } }

// Durable writes the request to disk and waits for the broker to confirm it: the effect happens even if the caller dies.
// It waits in the queue, until the deadline, if nobody serves it.
func Durable() CallOption { return func(o *callOptions) { o.durable = true } }

// WithRetry makes another attempt, after a pause and within a budget, when the server refuses with resource_exhausted,
// unavailable or aborted. It is the default. What the server has executed is not executed again.
func WithRetry() CallOption { return func(o *callOptions) { o.retry = true } }

// WithoutRetry returns the server's first refusal. A request that was lost is sent again all the same, see [AtMostOnce].
func WithoutRetry() CallOption { return func(o *callOptions) { o.retry = false } }

// WithCallID sets the ID under which servers deduplicate, 1 to 255 bytes, for a caller that makes the same call again
// after its own restart; see [WithName]. Default: random.
func WithCallID(id string) CallOption { return func(o *callOptions) { o.id, o.named = id, id != "" } }

// WithPriority sets the priority in the service's queue, 0 to 255, where that has priorities. Default 0.
func WithPriority(p uint8) CallOption { return func(o *callOptions) { o.priority = p } }

// WithHeader adds metadata for the handler. Names that begin with rpc- or x- are reserved; together they may be 48, with
// 14 KiB.
func WithHeader(name, value string) CallOption {
	return func(o *callOptions) {
		o.header = maps.Clone(o.header) // of the client's defaults, or of another call
		if o.header == nil {
			o.header = make(rpc.Header)
		}
		o.header[name] = value
	}
}

type optionsKey struct{}

// With returns a context that carries options for the calls that are made with it, for [Client.Do]. [Call] takes them
// itself.
func With(ctx context.Context, opts ...CallOption) context.Context {
	if len(opts) == 0 {
		return ctx
	}
	if outer, ok := ctx.Value(optionsKey{}).([]CallOption); ok {
		opts = append(outer[:len(outer):len(outer)], opts...)
	}
	return context.WithValue(ctx, optionsKey{}, opts)
}

// callOptions returns those of the client with those of ctx over them.
func (c *Client) callOptions(ctx context.Context) callOptions {
	opts, ok := ctx.Value(optionsKey{}).([]CallOption)
	if !ok {
		return c.opts.call
	}
	o := c.opts.call
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

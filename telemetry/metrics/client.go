package metrics

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/telemetry/internal/table"
)

// A Client makes metrics of clients. It is a [prometheus.Collector].
type Client struct {
	calls     table.Table[name, calls]
	durations *prometheus.HistogramVec
	attempts  table.Table[way, atomic.Uint64]
	changes   *prometheus.CounterVec
	sessions  prometheus.Counter

	mu      sync.Mutex // guards what follows
	watched []*client.Client
}

// calls is what is counted of one method.
type calls struct {
	codes     codes
	ambiguous atomic.Uint64
	duration  prometheus.Observer
}

// A way is how an attempt was published, and what came of it.
type way struct{ mode, ending string }

const (
	// maxNames is how many pairs of service and method a client has labels for, whoever vouches for them.
	maxNames = 1000
	// maxWays is more than there are.
	maxWays = 100
	// plain is the service of a plain queue: its calls name none.
	plain = "_plain"
)

// NewClient makes a collector for all clients of a process.
func NewClient() *Client {
	c := &Client{
		durations: prometheus.NewHistogramVec(histogram("rabbitrpc_client_call_duration_seconds",
			"What calls took, with all their attempts and waits."), []string{"service", "method"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rabbitrpc_client_breaker_changes_total", Help: "Changes of breakers, by the state that they changed to.",
		}, []string{"service", "to"}),
		sessions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rabbitrpc_client_sessions_total", Help: "Sessions in which clients have made calls, each with a reply queue of its own.",
		}),
	}
	c.add(name{other, other})
	return c
}

// Hooks returns what clients are to be given, with [client.WithHooks].
func (c *Client) Hooks() client.Hooks {
	return client.Hooks{
		CallEnded:    c.callEnded,
		AttemptEnded: c.attemptEnded,
		Presence:     c.presence,
		Breaker:      func(queue, _, to string) { c.changes.WithLabelValues(c.label(queue), to).Inc() },
		Session:      func(error) { c.sessions.Inc() },
	}
}

// Watch adds a client whose own counters and states are to be shown. It is watched for as long as c is in use.
func (c *Client) Watch(watched *client.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched = append(c.watched, watched)
}

// Know gives a service, and methods of it, labels of their own before any server has answered. At most 1000 pairs of
// service and method have their own, those that servers have vouched for included.
func (c *Client) Know(service string, methods ...string) {
	c.add(name{service, other})
	for _, m := range methods {
		c.add(name{service, m})
	}
}

// add returns nil if there is no room.
func (c *Client) add(n name) *calls {
	return c.calls.Add(n, maxNames, func() *calls {
		return &calls{duration: c.durations.WithLabelValues(n.service, n.method)}
	})
}

func (c *Client) callEnded(_ context.Context, e client.CallEnded) {
	n := name{e.Request.Service, e.Request.Method}
	if n.service == "" {
		n.service = plain
	}
	s := c.calls.Get(n)
	if s == nil {
		s = c.unknown(n, e.Err)
	}
	s.codes.add(rpc.CodeOf(e.Err))
	if rpc.Executed(e.Err) == rpc.ExecutedUnknown {
		s.ambiguous.Add(1)
	}
	s.duration.Observe(e.Took.Seconds())
}

// unknown returns where to count a call whose name has no labels. It gets some if a server vouches for it: for the service
// by any answer, for the method by having executed it.
func (c *Client) unknown(n name, err error) *calls {
	e, failed := err.(*rpc.Error)
	answered := !failed || e.Remote
	if answered {
		c.add(name{n.service, other})
	}
	if answered && rpc.Executed(err) == rpc.ExecutedYes {
		if s := c.add(n); s != nil {
			return s
		}
	}
	if s := c.calls.Get(name{n.service, other}); s != nil {
		return s
	}
	return c.calls.Get(name{other, other})
}

func (c *Client) attemptEnded(_ context.Context, e client.AttemptEnded) {
	if n := c.attempts.Add(way{e.Mode, e.Ending}, maxWays, func() *atomic.Uint64 { return new(atomic.Uint64) }); n != nil {
		n.Add(1)
	}
}

// presence vouches for a service whose queue is there: servers have declared it.
func (c *Client) presence(queue, presence string) {
	if presence == "present" || presence == "busy" || presence == "absent" {
		c.add(name{serviceOf(queue), other})
	}
}

// label returns the service behind a queue, if it is known.
func (c *Client) label(queue string) string {
	if service := serviceOf(queue); c.calls.Get(name{service, other}) != nil {
		return service
	}
	return other
}

func serviceOf(queue string) string {
	if service, ok := strings.CutPrefix(queue, wire.Queue("")); ok {
		return service
	}
	return plain
}

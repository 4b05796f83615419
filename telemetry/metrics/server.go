package metrics

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
	"github.com/rabbitrpc/rabbitrpc/telemetry/internal/table"
)

// A Server makes metrics of servers. It is a [prometheus.Collector].
type Server struct {
	requests table.Table[name, requests]
	handled  *prometheus.HistogramVec
	waited   *prometheus.HistogramVec

	mu      sync.Mutex // guards what follows
	watched []*server.Server
}

// requests is what is counted of one method.
type requests struct {
	codes           codes
	waited, handled prometheus.Observer // nobody handles what is not registered: nil then
}

// NewServer makes a collector for all servers of a process.
func NewServer() *Server {
	return &Server{
		handled: prometheus.NewHistogramVec(histogram("rabbitrpc_server_handler_duration_seconds",
			"What handlers took. Duplicates, which are answered without them, are not in it."), []string{"service", "method"}),
		waited: prometheus.NewHistogramVec(histogram("rabbitrpc_server_wait_seconds",
			"How long requests that the broker has delivered waited for a worker."), []string{"service"}),
	}
}

// Hooks returns what servers are to be given, with [server.WithHooks].
func (s *Server) Hooks() server.Hooks { return server.Hooks{RequestEnded: s.requestEnded} }

// Watch adds a server whose own counters and states are to be shown until stop is called: then its counters are gone, which to
// Prometheus is a restart.
func (s *Server) Watch(watched *server.Server) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = append(s.watched, watched)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.Index(s.watched, watched)
		s.watched = slices.Delete(s.watched, i, i+1)
	})
}

func (s *Server) requestEnded(_ context.Context, e server.RequestEnded) {
	n := name{e.Request.Service, e.Method}
	if n.method == "" {
		n.method = other
	}
	r := s.requests.Get(n)
	if r == nil {
		r = s.add(n)
	}
	code := rpc.OK
	if e.Err != nil {
		code = e.Err.Code
	}
	r.codes.add(code)
	r.waited.Observe(e.Waited.Seconds())
	if e.Ran && r.handled != nil {
		r.handled.Observe(e.Handled.Seconds())
	}
}

// add needs no bound: names are those that the program has registered.
func (s *Server) add(n name) *requests {
	return s.requests.Add(n, math.MaxInt, func() *requests {
		r := &requests{waited: s.waited.WithLabelValues(n.service)}
		if n.method != other {
			r.handled = s.handled.WithLabelValues(n.service, n.method)
		}
		return r
	})
}

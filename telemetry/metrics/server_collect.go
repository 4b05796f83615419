package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/server"
)

var requestsDesc = prometheus.NewDesc("rabbitrpc_server_requests_total",
	"Requests that were answered, by the code of the answer.", []string{"service", "method", "code"}, nil)

// serverStats are the metrics that servers keep themselves.
var serverStats = []stat[server.Stats]{
	counter("rabbitrpc_server_received_total", "Requests that were delivered, each delivery counted.",
		func(s server.Stats) float64 { return float64(s.Received) }, "service"),
	counter("rabbitrpc_server_replayed_total", "Duplicates that were answered with the stored reply.",
		func(s server.Stats) float64 { return float64(s.Replayed) }, "service"),
	counter("rabbitrpc_server_refused_total", "Requests over the adaptive limit, or over that of their tenant.",
		func(s server.Stats) float64 { return float64(s.Refused) }, "service"),
	counter("rabbitrpc_server_rejected_total", "Requests out of bounds, not permitted, or for no method.",
		func(s server.Stats) float64 { return float64(s.Rejected) }, "service"),
	counter("rabbitrpc_server_dropped_total", "Requests without an address that may be answered.",
		func(s server.Stats) float64 { return float64(s.Dropped) }, "service"),
	counter("rabbitrpc_server_expired_total", "Requests that were not started, since their callers had given up.",
		func(s server.Stats) float64 { return float64(s.Expired) }, "service"),
	counter("rabbitrpc_server_unroutable_total", "Replies that no node of the broker took: mostly, the caller was gone.",
		func(s server.Stats) float64 { return float64(s.Unroutable) }, "service"),
	counter("rabbitrpc_server_rerouted_total", "Replies that another node of the broker took, since the server's own did not know the caller's queue.",
		func(s server.Stats) float64 { return float64(s.Rerouted) }, "service"),
	counter("rabbitrpc_server_panics_total", "Panics of handlers, interceptors and authorizers.",
		func(s server.Stats) float64 { return float64(s.Panics) }, "service"),
	counter("rabbitrpc_server_overdue_total", "Handlers that did not end within a second after their deadline.",
		func(s server.Stats) float64 { return float64(s.Overdue) }, "service"),
	counter("rabbitrpc_server_parked_total", "Requests that were parked: no server lived to answer them.",
		func(s server.Stats) float64 { return float64(s.Parked) }, "service"),
	gauge("rabbitrpc_server_running", "Requests that are being executed.",
		func(s server.Stats) float64 { return float64(s.Running) }, "service"),
	gauge("rabbitrpc_server_stuck", "Requests that are overdue and keep their workers.",
		func(s server.Stats) float64 { return float64(s.Stuck) }, "service"),
	gauge("rabbitrpc_server_limit", "Requests that may be executed at a time: the workers, or less by the adaptive limit.",
		func(s server.Stats) float64 { return float64(s.Limit) }, "service"),
	gauge("rabbitrpc_server_workers", "Workers, each of which is at one request at a time.",
		func(s server.Stats) float64 { return float64(s.Workers) }, "service"),
	gauge("rabbitrpc_server_serving", "1 while the server takes requests, else 0.",
		func(s server.Stats) float64 { return truth(s.Serving) }, "service"),
	gauge("rabbitrpc_server_draining", "1 while the server, which is to end, waits for what it is at, else 0.",
		func(s server.Stats) float64 { return truth(s.Draining) }, "service"),
}

// storeStats are the metrics of the memory that answers duplicates.
var storeStats = []stat[idempotency.Stats]{
	gauge("rabbitrpc_dedupe_entries", "Calls that are remembered, or run.",
		func(s idempotency.Stats) float64 { return float64(s.Entries) }, "service"),
	gauge("rabbitrpc_dedupe_bytes", "Memory that these take, about.",
		func(s idempotency.Stats) float64 { return float64(s.Bytes) }, "service"),
	counter("rabbitrpc_dedupe_evicted_for_age_total", "Outcomes that were forgotten for their age.",
		func(s idempotency.Stats) float64 { return float64(s.EvictedForAge) }, "service"),
	counter("rabbitrpc_dedupe_evicted_for_room_total", "Outcomes that were forgotten before that, to make room for others.",
		func(s idempotency.Stats) float64 { return float64(s.EvictedForRoom) }, "service"),
	counter("rabbitrpc_dedupe_shed_for_room_total", "New calls that were refused: all outcomes were too young to be forgotten.",
		func(s idempotency.Stats) float64 { return float64(s.ShedForRoom) }, "service"),
	counter("rabbitrpc_dedupe_shed_for_share_total", "New calls that were refused: their tenant had its share.",
		func(s idempotency.Stats) float64 { return float64(s.ShedForShare) }, "service"),
	counter("rabbitrpc_dedupe_mismatch_total", "Calls that used the ID of another one.",
		func(s idempotency.Stats) float64 { return float64(s.Mismatch) }, "service"),
}

// Describe implements [prometheus.Collector].
func (s *Server) Describe(out chan<- *prometheus.Desc) {
	out <- requestsDesc
	for _, st := range serverStats {
		out <- st.desc
	}
	for _, st := range storeStats {
		out <- st.desc
	}
	s.handled.Describe(out)
	s.waited.Describe(out)
}

// Collect implements [prometheus.Collector].
func (s *Server) Collect(out chan<- prometheus.Metric) {
	for n, r := range s.requests.All() {
		r.codes.collect(out, requestsDesc, n)
	}
	s.handled.Collect(out)
	s.waited.Collect(out)

	s.mu.Lock()
	watched := slices.Clone(s.watched)
	s.mu.Unlock()
	servers, stores := make(map[string][]server.Stats), make(map[string][]idempotency.Stats)
	for _, w := range watched {
		service := w.Service()
		servers[service] = append(servers[service], w.Stats())
		if st, ok := w.StoreStats(); ok {
			stores[service] = append(stores[service], st)
		}
	}
	for service, all := range servers {
		collect(out, serverStats, all, service)
	}
	for service, all := range stores {
		collect(out, storeStats, all, service)
	}
}

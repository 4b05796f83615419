package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rabbitrpc/rabbitrpc/client"
)

var (
	callsDesc = prometheus.NewDesc("rabbitrpc_client_calls_total",
		"Calls that have ended, by code.", []string{"service", "method", "code"}, nil)
	ambiguousDesc = prometheus.NewDesc("rabbitrpc_client_calls_ambiguous_total",
		"Calls that have failed and may have been executed all the same.", []string{"service", "method"}, nil)
	attemptsDesc = prometheus.NewDesc("rabbitrpc_client_attempts_total",
		"Attempts that have ended, by how they were published and what came of it.", []string{"mode", "ending"}, nil)
	breakerDesc = prometheus.NewDesc("rabbitrpc_client_breaker_state",
		"Clients whose breaker of the service is in that state.", []string{"service", "state"}, nil)
	presenceDesc = prometheus.NewDesc("rabbitrpc_client_presence",
		"Clients that know that of the servers of the service.", []string{"service", "presence"}, nil)

	breakerStates  = []string{"closed", "half-open", "open"}
	presenceStates = []string{"unknown", "present", "busy", "absent", "missing", "denied"}
)

// clientStats are the metrics that clients keep themselves.
var clientStats = []stat[client.Stats]{
	counter("rabbitrpc_client_resent_total", "Attempts beyond the first of their call.",
		func(s client.Stats) float64 { return float64(s.Resent) }),
	counter("rabbitrpc_client_bounced_total", "Attempts that came back: no server or no queue had room, or a server died.",
		func(s client.Stats) float64 { return float64(s.Bounced) }),
	counter("rabbitrpc_client_late_replies_total", "Replies to no call in flight: duplicates, late ones, and made-up ones.",
		func(s client.Stats) float64 { return float64(s.Late) }),
	counter("rabbitrpc_client_forged_replies_total", "Replies of the wrong RabbitMQ user, which were dropped.",
		func(s client.Stats) float64 { return float64(s.Forged) }),
	gauge("rabbitrpc_client_in_flight", "Calls in flight.",
		func(s client.Stats) float64 { return float64(s.InFlight) }),
	gauge("rabbitrpc_client_in_flight_limit", "Calls that may be in flight; more wait for room.",
		func(s client.Stats) float64 { return float64(s.Limit) }),
}

// Describe implements [prometheus.Collector].
func (c *Client) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{callsDesc, ambiguousDesc, attemptsDesc, breakerDesc, presenceDesc} {
		out <- d
	}
	for _, s := range clientStats {
		out <- s.desc
	}
	c.durations.Describe(out)
	c.changes.Describe(out)
	c.sessions.Describe(out)
}

// Collect implements [prometheus.Collector].
func (c *Client) Collect(out chan<- prometheus.Metric) {
	for n, s := range c.calls.All() {
		s.codes.collect(out, callsDesc, n)
		out <- prometheus.MustNewConstMetric(ambiguousDesc, prometheus.CounterValue, float64(s.ambiguous.Load()), n.service, n.method)
	}
	for w, n := range c.attempts.All() {
		out <- prometheus.MustNewConstMetric(attemptsDesc, prometheus.CounterValue, float64(n.Load()), w.mode, w.ending)
	}
	c.durations.Collect(out)
	c.changes.Collect(out)
	c.sessions.Collect(out)

	c.mu.Lock()
	watched := slices.Clone(c.watched)
	c.mu.Unlock()
	c.collectServices(out, watched)
	var stats []client.Stats
	for _, w := range watched {
		stats = append(stats, w.Stats())
	}
	collect(out, clientStats, stats)
}

// collectServices sends what clients know of the services that they have called.
func (c *Client) collectServices(out chan<- prometheus.Metric, watched []*client.Client) {
	breakers, presences := make(states), make(states)
	for _, w := range watched {
		for _, s := range w.Services() {
			service := c.label(s.Queue)
			presences.count(service, s.Presence)
			if s.Breaker != "" {
				breakers.count(service, s.Breaker)
			}
		}
	}
	breakers.collect(out, breakerDesc, breakerStates)
	presences.collect(out, presenceDesc, presenceStates)
}

// states counts by service and state.
type states map[string]map[string]int

func (s states) count(service, state string) {
	if s[service] == nil {
		s[service] = make(map[string]int)
	}
	s[service][state]++
}

// collect sends all states of each service: those with a zero too, so that no time series comes and goes.
func (s states) collect(out chan<- prometheus.Metric, desc *prometheus.Desc, all []string) {
	for service, counts := range s {
		for _, state := range all {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(counts[state]), service, state)
		}
	}
}

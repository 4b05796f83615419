package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

var (
	upDesc = prometheus.NewDesc("rabbitrpc_connection_up",
		"1 while there is a session with the broker, else 0.", []string{"connection"}, nil)
	blockedDesc = prometheus.NewDesc("rabbitrpc_connection_blocked",
		"1 while the broker takes no messages, for an alarm or since the network is too slow for what is sent, else 0.", []string{"connection"}, nil)
)

// Connections makes metrics of the sessions with the broker. It is a [prometheus.Collector].
type Connections struct {
	sessions, lost, failed *prometheus.CounterVec
	reconnect              *prometheus.HistogramVec

	mu      sync.Mutex // guards what follows
	watched map[string]*conn.Manager
}

// NewConnections makes a collector for all managers of a process.
func NewConnections() *Connections {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"connection"})
	}
	return &Connections{
		sessions: counter("rabbitrpc_connection_sessions_total", "Sessions with the broker that have begun."),
		lost:     counter("rabbitrpc_connection_sessions_lost_total", "Sessions that have ended other than by being closed."),
		failed:   counter("rabbitrpc_connection_dial_failures_total", "Rounds of dials, to each URL one, without a session."),
		reconnect: prometheus.NewHistogramVec(histogram("rabbitrpc_connection_reconnect_seconds",
			"How long there was no session before one began."), []string{"connection"}),
		watched: make(map[string]*conn.Manager),
	}
}

// Hooks returns what the manager of that name is to be given, with [conn.WithHooks].
func (c *Connections) Hooks(name string) conn.Hooks {
	sessions, lost, failed := c.sessions.WithLabelValues(name), c.lost.WithLabelValues(name), c.failed.WithLabelValues(name)
	reconnect := c.reconnect.WithLabelValues(name)
	return conn.Hooks{
		Connected:  func(after time.Duration) { sessions.Inc(); reconnect.Observe(after.Seconds()) },
		Lost:       func(error, time.Duration) { lost.Inc() },
		DialFailed: func(error) { failed.Inc() },
	}
}

// Watch adds the manager of that name, whose state is to be shown, in place of one that had the name.
func (c *Connections) Watch(name string, m *conn.Manager) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched[name] = m
}

// Describe implements [prometheus.Collector].
func (c *Connections) Describe(out chan<- *prometheus.Desc) {
	out <- upDesc
	out <- blockedDesc
	for _, v := range []prometheus.Collector{c.sessions, c.lost, c.failed, c.reconnect} {
		v.Describe(out)
	}
}

// Collect implements [prometheus.Collector].
func (c *Connections) Collect(out chan<- prometheus.Metric) {
	for _, v := range []prometheus.Collector{c.sessions, c.lost, c.failed, c.reconnect} {
		v.Collect(out)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, m := range c.watched {
		up := truth(m.State().Phase == conn.Connected)
		out <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, up, name)
		out <- prometheus.MustNewConstMetric(blockedDesc, prometheus.GaugeValue, truth(blocked(m)), name)
	}
}

// blocked reports whether there is a session that takes no messages.
func blocked(m *conn.Manager) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a session that is there is handed out all the same
	s, err := m.Session(ctx)
	return err == nil && s.Blocked() != nil
}

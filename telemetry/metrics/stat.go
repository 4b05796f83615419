package metrics

import "github.com/prometheus/client_golang/prometheus"

// A stat is a metric of what S, a snapshot, says. It costs nothing until it is collected.
type stat[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(S) float64
}

func counter[S any](name, help string, of func(S) float64, labels ...string) stat[S] {
	return stat[S]{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, of}
}

func gauge[S any](name, help string, of func(S) float64, labels ...string) stat[S] {
	return stat[S]{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, of}
}

// collect sends the sums of what snapshots say.
func collect[S any](out chan<- prometheus.Metric, stats []stat[S], snapshots []S, labels ...string) {
	for _, st := range stats {
		sum := 0.0
		for _, s := range snapshots {
			sum += st.of(s)
		}
		out <- prometheus.MustNewConstMetric(st.desc, st.kind, sum, labels...)
	}
}

// truth is the value of a gauge that says yes or no.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

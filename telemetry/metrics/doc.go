// Package metrics makes Prometheus metrics of what clients, servers and connections do. docs/metrics.md lists them.
//
// There is a collector for each side: all clients of a process share a [Client], all servers a [Server], all connections
// with the broker a [Connections]. Their hooks go to what is observed, which is then watched for what it counts itself:
//
//	calls := metrics.NewClient()
//	c, err := client.New(m, client.WithHooks(calls.Hooks()))
//	calls.Watch(c)
//	prometheus.MustRegister(calls, metrics.BuildInfo())
//
// # Labels
//
// No stranger can make a new time series. A server's labels are its own service and registered methods; requests for any
// other method are those of the method "_other". A client's labels are names that a server has vouched for, by executing a
// call, or that the program has: see [Client.Know]. Modes, endings and codes are closed sets.
//
// # Concurrency
//
// All of it is for any number of goroutines. Of a call, a hook takes no lock and allocates nothing.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// other is the label of names that are not known.
const other = "_other"

// latencies are the bounds of the classic histograms, in seconds: from what a call over the loopback interface takes to the
// default timeout and beyond. Native histograms, which Prometheus prefers where it is told to scrape them, need none.
var latencies = []float64{
	.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30,
}

// histogram returns the options of a histogram of seconds, native and classic.
func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: latencies,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

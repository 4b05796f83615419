package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A name is what the calls are about that are counted together.
type name struct{ service, method string }

// codes counts by code.
type codes [rpc.Unauthenticated + 1]atomic.Uint64

// add counts one. A number that is no code counts as unknown: whoever made it up, it gets no time series.
func (c *codes) add(code rpc.Code) {
	if int(code) >= len(c) {
		code = rpc.Unknown
	}
	c[code].Add(1)
}

// collect sends a counter for each code that was counted, and for ok, so that there is one to divide by.
func (c *codes) collect(out chan<- prometheus.Metric, desc *prometheus.Desc, n name) {
	for i := range c {
		if v, code := c[i].Load(), rpc.Code(i); v > 0 || code == rpc.OK {
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), n.service, n.method, code.String())
		}
	}
}

// Package report shows what was measured: as tables, as a drawing, as JSON.
package report

import (
	"slices"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/load"
)

// A Report is all that has been measured. Times are microseconds, as their names say.
type Report struct {
	Command string        `json:"command"`
	Machine Machine       `json:"machine"`
	Broker  string        `json:"broker"`
	Private bool          `json:"private_broker"`
	Sides   []worker.Side `json:"sides"`
	Rate    float64       `json:"rate,omitempty"` // calls offered each second; 0 for a closed loop
	Seconds float64       `json:"seconds"`        // of a round
	Cells   []CellResult  `json:"cells"`
	Holds   []Hold        `json:"in_flight,omitempty"`

	Incomplete bool `json:"incomplete,omitempty"` // it was stopped, or failed
}

// A CellResult is what was measured in a cell.
type CellResult struct {
	worker.Cell
	Workers    int     `json:"workers"`
	Goroutines []int   `json:"goroutines"` // of an idle client of each side
	Rounds     []Round `json:"rounds"`
}

// A Round has a measurement of each side, one after the other.
type Round []Measurement

// A Measurement is one side's in one round.
type Measurement struct {
	Calls   uint64  `json:"calls"` // that were answered
	Failed  uint64  `json:"failed"`
	Missed  uint64  `json:"missed"`            // of an open loop: too late to begin
	Failure string  `json:"failure,omitempty"` // of one of them
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"calls_per_second"`

	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`

	// Processor time for each call, answered or not.
	ClientCPU float64 `json:"client_cpu_us"`
	ServerCPU float64 `json:"server_cpu_us"`
	BrokerCPU float64 `json:"broker_cpu_us"` // 0 if it is not ours

	ClientAllocs float64 `json:"client_allocs"` // for each call
	ServerAllocs float64 `json:"server_allocs"`
	ClientBytes  float64 `json:"client_bytes"`
	ServerBytes  float64 `json:"server_bytes"`
}

// NewMeasurement makes one of what a load came to, and of what client, server and broker have used for it.
func NewMeasurement(r *load.Result, client, server worker.Usage, broker time.Duration) Measurement {
	m := Measurement{
		Calls: r.OK(), Failed: r.Failed, Missed: r.Missed, Failure: r.Failure,
		Seconds: r.Elapsed.Seconds(), Rate: r.PerSecond(),
		P50: us(r.Percentile(50)), P90: us(r.Percentile(90)), P99: us(r.Percentile(99)), P999: us(r.Percentile(99.9)),
		Max: us(r.Percentile(100)),
	}
	n := float64(max(1, m.Calls+m.Failed))
	m.ClientCPU, m.ServerCPU, m.BrokerCPU = us(client.CPU)/n, us(server.CPU)/n, us(broker)/n
	m.ClientAllocs, m.ServerAllocs = float64(client.Allocs)/n, float64(server.Allocs)/n
	m.ClientBytes, m.ServerBytes = float64(client.Bytes)/n, float64(server.Bytes)/n
	return m
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// groups returns the cells of each mode and size.
func (r *Report) groups() (all [][]CellResult) {
	for rest := r.Cells; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Mode == rest[0].Mode && rest[n].Size == rest[0].Size {
			n++
		}
		all = append(all, rest[:n])
		rest = rest[n:]
	}
	return all
}

// A Figure is a number of a measurement.
type Figure func(*Measurement) float64

// Median returns the median of a side's figure over the rounds.
func (c *CellResult) Median(side int, f Figure) float64 { return median(c.values(side, f)) }

// Ratio returns the median of how the first side's figure relates to another's in the same round: what changes on the
// machine from round to round is not in it. It is 0 if the figure is not known.
func (c *CellResult) Ratio(side int, f Figure) float64 {
	ours, theirs := c.values(0, f), c.values(side, f)
	var ratios []float64
	for i := range ours {
		if theirs[i] != 0 {
			ratios = append(ratios, ours[i]/theirs[i])
		}
	}
	return median(ratios)
}

// Spread returns half the distance between a figure's greatest and least value, as a part of its median.
func (c *CellResult) Spread(side int, f Figure) float64 {
	v := c.values(side, f)
	if m := median(v); m != 0 {
		return (slices.Max(v) - slices.Min(v)) / 2 / m
	}
	return 0
}

func (c *CellResult) values(side int, f Figure) (v []float64) {
	for i := range c.Rounds {
		v = append(v, f(&c.Rounds[i][side]))
	}
	return v
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// A Hold is what calls take that are in flight, and a client that has none.
type Hold struct {
	Side       string  `json:"side"`
	Calls      int     `json:"calls"`
	Heap       float64 `json:"heap_bytes"`      // of the client, for each call
	Stacks     float64 `json:"stack_bytes"`     // the same, of which most is the caller's own
	Goroutines int     `json:"idle_goroutines"` // of a client without calls
}

// Failed returns how many calls were not answered, in all rounds of all sides.
func (r *Report) Failed() (n uint64) {
	for _, c := range r.Cells {
		for _, round := range c.Rounds {
			for _, m := range round {
				n += m.Failed + m.Missed
			}
		}
	}
	return n
}

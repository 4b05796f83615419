package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

const (
	maxPoints = 1200 // of a line; of more, the highest of each few
	maxCharts = 16
	maxLines  = 12 // of a chart
)

// A chart is what was used of one thing, with a line for each who used it.
type chart struct {
	Title string    `json:"title"`
	Bytes bool      `json:"bytes,omitempty"` // the unit; else they are counted
	At    []float64 `json:"at"`              // seconds
	Lines []line    `json:"lines"`
}

type line struct {
	Name string  `json:"name"`
	V    []value `json:"v"`
}

// resourcesOf groups the samples by what was used. "server-1 rss" and "driver rss" are two lines of the chart "rss";
// "in flight" is a chart of its own.
func resourcesOf(h *history.History) []chart {
	samples := slices.SortedStableFunc(slices.Values(h.Samples), func(a, b history.Sample) int { return cmp.Compare(a.At, b.At) })
	names := make(map[string]bool)
	for _, s := range samples {
		for name := range s.Value {
			names[name] = true
		}
	}
	sharing := make(map[string]int) // what was used -> by how many
	for name := range names {
		_, what, _ := strings.Cut(name, " ")
		sharing[what]++
	}
	by := make(map[string]*chart)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		who, what, ok := strings.Cut(name, " ")
		if !ok || sharing[what] < 2 && who != "driver" && !slices.Contains(h.Run.Servers, who) {
			who, what = name, name
		}
		c := by[what]
		if c == nil {
			c = &chart{Title: printable(what), Bytes: inBytes(what)}
			by[what] = c
		}
		if len(c.Lines) < maxLines {
			c.add(who, name, samples)
		}
	}
	charts := make([]chart, 0, len(by))
	for _, what := range slices.Sorted(maps.Keys(by)) {
		charts = append(charts, *by[what])
	}
	return charts[:min(len(charts), maxCharts)]
}

func inBytes(what string) bool {
	for _, word := range strings.Fields(what) {
		switch word {
		case "rss", "heap", "memory", "bytes":
			return true
		}
	}
	return false
}

// add adds the line of one name: of each few samples the highest, since it is peaks that matter.
func (c *chart) add(who, name string, samples []history.Sample) {
	few := (len(samples) + maxPoints - 1) / maxPoints
	l := line{Name: printable(who)}
	var at []float64
	for some := range slices.Chunk(samples, max(1, few)) {
		high := gap
		for _, s := range some {
			if v, ok := s.Value[name]; ok {
				high = max(high, value(v))
			}
		}
		at = append(at, some[0].At.Round(time.Millisecond).Seconds())
		l.V = append(l.V, high)
	}
	c.At = at
	c.Lines = append(c.Lines, l)
}

package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies counts how long things took: in microseconds up to a day, three digits of each, in 240 KiB however many they are.
type latencies struct{ *hdrhistogram.Histogram }

func newLatencies() latencies {
	return latencies{hdrhistogram.New(1, (24 * time.Hour).Microseconds(), 3)}
}

func (l latencies) add(d time.Duration) { l.RecordValue(max(1, d.Microseconds())) }

// quantiles are those that are shown, in percent.
var quantiles = []struct {
	name    string
	percent float64
}{{"p50", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}, {"p99.9", 99.9}}

// String shows them in one line.
func (l latencies) String() string {
	if l.TotalCount() == 0 {
		return "none"
	}
	all := []string{"min " + millis(l.Min()), "avg " + millis(int64(l.Mean()))}
	for _, q := range quantiles {
		all = append(all, q.name+" "+millis(l.ValueAtPercentile(q.percent)))
	}
	return strings.Join(append(all, "max "+millis(l.Max())), "  ")
}

// object is the same for JSON, in milliseconds.
func (l latencies) object() map[string]float64 {
	if l.TotalCount() == 0 {
		return nil
	}
	all := map[string]float64{"min": float64(l.Min()) / 1000, "avg": float64(int64(l.Mean())) / 1000, "max": float64(l.Max()) / 1000}
	for _, q := range quantiles {
		all[q.name] = float64(l.ValueAtPercentile(q.percent)) / 1000
	}
	return all
}

func millis(us int64) string { return rounded(float64(us)/1000, 3) + "ms" }

// rounded has so many digits that matter, and no exponent.
func rounded(x float64, digits int) string {
	x, _ = strconv.ParseFloat(strconv.FormatFloat(x, 'g', digits, 64), 64)
	return strconv.FormatFloat(x, 'f', -1, 64)
}

package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// columns are the figures of the table.
var columns = [...]struct {
	name string
	get  Figure
	show func(float64) string
}{
	{"calls/s", func(m *Measurement) float64 { return m.Rate }, whole},
	{"p50", func(m *Measurement) float64 { return m.P50 }, short},
	{"p90", func(m *Measurement) float64 { return m.P90 }, short},
	{"p99", func(m *Measurement) float64 { return m.P99 }, short},
	{"p99.9", func(m *Measurement) float64 { return m.P999 }, short},
	{"max", func(m *Measurement) float64 { return m.Max }, short},
	{"client", func(m *Measurement) float64 { return m.ClientCPU }, known(tenth)},
	{"server", func(m *Measurement) float64 { return m.ServerCPU }, known(tenth)},
	{"both", both, known(tenth)},
	{"broker", func(m *Measurement) float64 { return m.BrokerCPU }, known(tenth)},
	{"client", func(m *Measurement) float64 { return m.ClientAllocs }, known(whole)},
	{"server", func(m *Measurement) float64 { return m.ServerAllocs }, known(whole)},
}

const (
	firstCPU    = 6 // of the columns
	firstAllocs = 10
)

func whole(f float64) string { return fmt.Sprintf("%.0f", f) }

// known shows nothing of a process that is not ours: what it uses is not known, and is 0 in the report.
func known(show func(float64) string) func(float64) string {
	return func(f float64) string {
		if f == 0 {
			return "-"
		}
		return show(f)
	}
}

// both is what client and server use together, 0 if the server is not ours.
func both(m *Measurement) float64 {
	if m.ServerCPU == 0 {
		return 0
	}
	return m.ClientCPU + m.ServerCPU
}

func tenth(f float64) string { return fmt.Sprintf("%.1f", f) }

// short writes microseconds with three digits.
func short(us float64) string {
	unit := "µs"
	switch {
	case us >= 999_500:
		us, unit = us/1e6, "s"
	case us >= 999.5:
		us, unit = us/1e3, "ms"
	}
	switch {
	case us >= 99.95:
		return fmt.Sprintf("%.0f%s", us, unit)
	case us >= 9.995:
		return fmt.Sprintf("%.1f%s", us, unit)
	}
	return fmt.Sprintf("%.2f%s", us, unit)
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s\n", r.Command)
	fmt.Fprintf(&b, "%s, %d processors, %s, %s, %s; load before: %s\n", m.CPU, m.Processors, m.System, m.Go, r.Broker, m.Load)
	for _, cells := range r.groups() {
		r.table(&b, cells)
	}
	r.holds(&b)
	if r.Failed() > 0 || r.Incomplete {
		b.WriteByte('\n')
	}
	for i := range r.Cells {
		r.failures(&b, &r.Cells[i])
	}
	if r.Incomplete {
		b.WriteString("It was cut short: this is what was measured until then.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table writes the cells of one mode and size.
func (r *Report) table(b *strings.Builder, cells []CellResult) {
	loop := "each caller makes one call after the other"
	if r.Rate > 0 {
		loop = fmt.Sprintf("%v calls begin each second", r.Rate)
	}
	rounds := "one round"
	if n := len(cells[0].Rounds); n > 1 {
		rounds = fmt.Sprintf("medians of %d rounds, ± half their range,", n)
	}
	fmt.Fprintf(b, "\n%s, %d bytes each way, %s; %s of %v\n",
		cells[0].Mode, cells[0].Size, loop, rounds, time.Duration(r.Seconds*float64(time.Second)))
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	group := make([]string, len(columns))
	group[firstCPU], group[firstAllocs] = "CPU, µs:", "allocs:"
	fmt.Fprintf(t, "\t\t%s\n", strings.Join(withSpread(group, ""), "\t")+"\t")
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	fmt.Fprintf(t, "callers\t\t%s\t\n", strings.Join(withSpread(names, "±"), "\t"))
	for i := range cells {
		r.rows(t, &cells[i])
	}
	t.Flush()
}

// withSpread adds the column behind the first.
func withSpread(row []string, spread string) []string {
	return append([]string{row[0], spread}, row[1:]...)
}

// rows writes a row for each side, and one for each that the first is compared with.
func (r *Report) rows(t io.Writer, c *CellResult) {
	for side := range r.Sides {
		var row []string
		for _, col := range columns {
			row = append(row, col.show(c.Median(side, col.get)))
		}
		spread := fmt.Sprintf("%.0f%%", 100*c.Spread(side, columns[0].get))
		callers := ""
		if side == 0 {
			callers = fmt.Sprint(c.Callers)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", callers, r.Sides[side].Name, strings.Join(withSpread(row, spread), "\t"))
	}
	for side := 1; side < len(r.Sides); side++ {
		var row []string
		for _, col := range columns {
			text := "-"
			if ratio := c.Ratio(side, col.get); ratio > 0 {
				text = fmt.Sprintf("%.2f", ratio)
			}
			row = append(row, text)
		}
		fmt.Fprintf(t, "\tto %s\t%s\t\n", r.Sides[side].Name, strings.Join(withSpread(row, ""), "\t"))
	}
}

// failures tells of calls that were not answered.
func (r *Report) failures(b *strings.Builder, c *CellResult) {
	for side := range r.Sides {
		var calls, failed, missed uint64
		failure := ""
		for _, round := range c.Rounds {
			m := &round[side]
			calls += m.Calls + m.Failed + m.Missed
			failed += m.Failed
			missed += m.Missed
			if failure == "" {
				failure = m.Failure
			}
		}
		if failed > 0 {
			fmt.Fprintf(b, "%s, %s: %d of %d calls failed, one of them: %s\n", c.Cell, r.Sides[side].Name, failed, calls, failure)
		}
		if missed > 0 {
			fmt.Fprintf(b, "%s, %s: %d of %d calls could not begin in twice their time: it cannot do that rate\n",
				c.Cell, r.Sides[side].Name, missed, calls)
		}
	}
}

func (r *Report) holds(b *strings.Builder) {
	if len(r.Holds) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%d calls in flight: bytes of the client for each; goroutines of one that makes none\n", r.Holds[0].Calls)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\theap\tstacks\tidle goroutines\t")
	for _, h := range r.Holds {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%d\t\n", h.Side, h.Heap, h.Stacks, h.Goroutines)
	}
	t.Flush()
}

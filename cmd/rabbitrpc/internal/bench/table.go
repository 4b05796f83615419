package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// columns of the table, behind the caller's and the side's.
var columns = []struct {
	name string
	get  Figure
	show func(float64) string
}{
	{"calls/s", func(m *Measurement) float64 { return m.Rate }, whole},
	{"p50", func(m *Measurement) float64 { return m.P50 }, duration},
	{"p90", func(m *Measurement) float64 { return m.P90 }, duration},
	{"p99", func(m *Measurement) float64 { return m.P99 }, duration},
	{"p99.9", func(m *Measurement) float64 { return m.P999 }, duration},
	{"max", func(m *Measurement) float64 { return m.Max }, duration},
	{"client", func(m *Measurement) float64 { return m.ClientCPU }, tenth},
	{"server", func(m *Measurement) float64 { return m.ServerCPU }, tenth},
	{"broker", func(m *Measurement) float64 { return m.BrokerCPU }, tenth},
	{"c+s", func(m *Measurement) float64 { return m.ClientCPU + m.ServerCPU }, tenth},
	{"client", func(m *Measurement) float64 { return m.ClientAllocs }, tenth},
	{"server", func(m *Measurement) float64 { return m.ServerAllocs }, tenth},
	{"failed", func(m *Measurement) float64 { return float64(m.Failed + m.Missed) }, whole},
}

func whole(f float64) string    { return fmt.Sprintf("%.0f", f) }
func tenth(f float64) string    { return fmt.Sprintf("%.1f", f) }
func duration(f float64) string { return time.Duration(f * 1000).Round(time.Microsecond).String() }

// Text writes the report as tables.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	r.head(&b)
	for i := range r.Cells {
		c := &r.Cells[i]
		if i == 0 || c.Mode != r.Cells[i-1].Mode || c.Size != r.Cells[i-1].Size {
			fmt.Fprintf(&b, "\n%s, %d bytes each way\n", c.Mode, c.Size)
		}
		r.table(&b, c)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) head(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "%s\n%s, %d processors, %s, load %s; %s; %s\n", r.Command, m.CPU, m.Processors, m.System, m.Load, m.Go, r.Broker)
}

func (r *Report) table(b *strings.Builder, c *CellResult) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, c.Callers, " callers\t")
	for _, col := range columns {
		fmt.Fprint(t, col.name, "\t")
		if col.name == "calls/s" {
			fmt.Fprint(t, "±\t")
		}
	}
	fmt.Fprintln(t)
	for side := range r.Sides {
		fmt.Fprint(t, r.Sides[side].Name, "\t")
		for _, col := range columns {
			fmt.Fprint(t, col.show(c.Median(side, col.get)), "\t")
			if col.name == "calls/s" {
				fmt.Fprintf(t, "%.0f%%\t", 100*c.Spread(side, col.get))
			}
		}
		fmt.Fprintln(t)
	}
	for side := 1; side < len(r.Sides); side++ {
		fmt.Fprintf(t, "/ %s\t", r.Sides[side].Name)
		for _, col := range columns {
			fmt.Fprintf(t, "%.2f\t", c.Ratio(side, col.get))
			if col.name == "calls/s" {
				fmt.Fprint(t, "\t")
			}
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

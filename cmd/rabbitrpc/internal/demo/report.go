package demo

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// A report is the table at the end. A call counts where it ended.
type report struct {
	rows   []row
	total  row
	resent uint64 // up to the last row
	first  error
}

type row struct {
	name string
	tally
	resent uint64
}

// add adds a row. resent is the client's count since its start.
func (r *report) add(name string, t tally, resent uint64) {
	r.rows = append(r.rows, row{name, t, resent - r.resent})
	r.resent = resent
	r.total.calls += t.calls
	r.total.ok += t.ok
	r.total.replayed += t.replayed
	r.total.resent = resent
	r.total.slowest = max(r.total.slowest, t.slowest)
	if r.first == nil {
		r.first = t.failure
	}
}

func (r *report) write(out io.Writer) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "calls\tok\tre-sent\treplayed\tfailed\tslowest\t")
	for _, row := range r.rows {
		row.write(w, row.name)
	}
	r.total.write(w, "total")
	w.Flush()
	fmt.Fprintln(out)
}

func (r *row) write(w io.Writer, name string) {
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%v\t  %s\n",
		r.calls, r.ok, r.resent, r.replayed, r.failed(), r.slowest.Round(time.Millisecond), name)
}

// err returns an error if a call failed.
func (r *report) err() error {
	if n := r.total.failed(); n > 0 {
		return fmt.Errorf("%d of %d calls failed, the first: %w", n, r.total.calls, r.first)
	}
	if r.total.calls == 0 {
		return errors.New("no call was made")
	}
	return nil
}

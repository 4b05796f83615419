package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

const (
	maxSessions = 1000    // rows
	maxSchedule = 1 << 16 // bytes
)

// A page is what the layout shows. All its texts are printable.
type page struct {
	Policy  string
	Styles  []template.CSS
	Scripts []template.JS
	Data    template.JS

	Result      string // passed, broken or inconclusive
	Subject     string // scenario and seed
	Summary     string
	Facts       []fact
	Figures     []figure
	Tally       string
	Verdicts    []verdictRow
	Faults      []faultRow
	Sessions    []sessionRow
	AllSessions int
	Schedule    string
	Started     string
}

type fact struct{ Name, Value string }

// A figure is a number that matters. Kind is the outcome whose colour it has, if any.
type figure struct{ Name, Value, Note, Kind string }

type verdictRow struct {
	ID, Title, Result, Class, Detail string
	Evidence                         []string
}

type faultRow struct {
	N                                 int
	Name, Target, Text, Error         string
	From, To, Length, Bites, Recovery string
	NoBites, Late                     bool
}

type sessionRow struct{ At, Process, Error string }

func pageOf(h *history.History, v []check.Verdict, f *figures) *page {
	r := &h.Run
	result := verdict(v)
	p := &page{
		Result: headlines[result], Subject: printable(fmt.Sprintf("%s, seed %d", r.Scenario, r.Seed)),
		Summary: summary(v, result), Facts: factsOf(r, f), Figures: tiles(f), Tally: tally(v),
		Faults: faultRows(h), AllSessions: len(h.Sessions), Schedule: scheduleOf(r),
	}
	if !r.Started.IsZero() {
		p.Started = r.Started.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	for _, v := range worstFirst(v) {
		row := verdictRow{
			ID: printable(v.Invariant), Title: printable(v.Title), Result: printable(string(v.Result)),
			Class: strings.ReplaceAll(printable(string(v.Result)), " ", "-"), Detail: printable(v.Detail),
		}
		for _, e := range v.Evidence {
			row.Evidence = append(row.Evidence, printable(e))
		}
		p.Verdicts = append(p.Verdicts, row)
	}
	for _, s := range h.Sessions[:min(len(h.Sessions), maxSessions)] {
		p.Sessions = append(p.Sessions, sessionRow{typeset(instant(s.At)), printable(s.Process), printable(s.Error)})
	}
	return p
}

// summary says in a sentence why the headline is what it is.
func summary(v []check.Verdict, result check.Result) string {
	var ids []string
	for i := range v {
		if v[i].Result == result {
			ids = append(ids, printable(v[i].Invariant))
		}
	}
	switch {
	case result == check.Holds:
		return "Every invariant that was checked holds: " + number(len(ids)) + " of " + number(len(v)) + "."
	case len(ids) == 0:
		return "No invariant was checked, so that the run shows nothing."
	case result == check.Inconclusive:
		return "Nothing is known to be broken, but the run does not show that all is well: " + strings.Join(ids, ", ") + "."
	}
	return "What must always hold did not: " + strings.Join(ids, ", ") + "."
}

func factsOf(r *history.Run, f *figures) []fact {
	servers := number(len(r.Servers))
	if len(r.Servers) > 0 && len(r.Servers) <= 8 {
		servers += ": " + strings.Join(r.Servers, ", ")
	}
	facts := []fact{
		{"Duration", typeset(span(f.length))}, {"Callers", typeset(number(r.Callers))}, {"Servers", printable(servers)},
		{"Store", printable(r.Store)}, {"Promise", printable(string(r.Promise))},
		{"Versions", printable(strings.Join(r.Versions, ", "))},
	}
	return slices.DeleteFunc(facts, func(f fact) bool { return f.Value == "" })
}

func tiles(f *figures) []figure {
	part := func(n int) string { return typeset(share(n, f.calls)) }
	rejected := part(f.rejected)
	if f.misuse > 0 {
		rejected += ", " + typeset(number(f.misuse)) + " for misuse"
	}
	all := []figure{
		{"Calls", number(f.calls), "", ""},
		{"OK", number(f.ok), part(f.ok), "ok"},
		{"Rejected", number(f.rejected), rejected, "rejected"},
		{"Failed", number(f.failed), part(f.failed), "failed"},
		{"Ambiguous", number(f.ambiguous), part(f.ambiguous), "ambiguous"},
		{"Lost", number(f.lost), part(f.lost), "lost"},
		{"Sent again", number(f.resent), "attempts beyond the first", ""},
		{"Replayed", number(f.replayed), "from a server’s memory", ""},
		{"Wait, p50", span(f.p50), "half of the calls", ""},
		{"Wait, p99", span(f.p99), "all but one in a hundred", ""},
		{"Wait, longest", span(f.most), "of all but lost calls", ""},
	}
	if f.calls > 0 && f.length > 0 {
		all[0].Note = typeset(number(int(float64(f.calls)/f.length.Seconds()+0.5)) + " a second")
	}
	for i := range all {
		all[i].Value = typeset(all[i].Value)
	}
	return all
}

func faultRows(h *history.History) []faultRow {
	back := check.Recoveries(h)
	rows := make([]faultRow, 0, len(h.Faults))
	for i, f := range h.Faults {
		row := faultRow{
			N: i + 1, Name: printable(f.Name), Target: printable(f.Target), Text: printable(f.Text), Error: printable(f.Error),
			From: typeset(instant(f.From)), To: typeset(instant(f.To)), Length: typeset(span(f.To - f.From)),
			Bites: typeset(number(f.Bites)), NoBites: f.Bites == 0, Recovery: "none", Late: true,
		}
		if back[i].Found {
			allowed := h.Run.Allowed.Recovery
			row.Recovery = typeset(span(back[i].Took))
			row.Late = allowed > 0 && back[i].Took > allowed
		}
		rows = append(rows, row)
	}
	return rows
}

func scheduleOf(r *history.Run) string {
	s := string(r.Schedule)
	if len(s) > maxSchedule {
		s = s[:maxSchedule] + " …"
	}
	return printable(s)
}

// typeset keeps a number and its unit on one line, with thin spaces.
func typeset(s string) string { return strings.ReplaceAll(s, " ", "\u202f") }

package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

//go:embed assets
var assets embed.FS

var (
	layout = template.Must(template.ParseFS(assets, "assets/page.html"))
	styles = []template.CSS{template.CSS(asset("uplot/uPlot.min.css")), template.CSS(asset("page.css"))}
	// In this order: each uses those before.
	scripts = []template.JS{
		template.JS(asset("uplot/uPlot.iife.min.js")), template.JS(asset("data.js")), template.JS(asset("chart.js")),
		template.JS(asset("lanes.js")), template.JS(asset("charts.js")), template.JS(asset("search.js")),
	}
)

// asset returns an embedded file. What is not there is found by any test.
func asset(name string) string {
	text, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// HTML writes a page that shows the run: verdicts, figures, charts, faults, and calls to search in. It is one file of a few
// megabytes at most, however long the run was, and fetches nothing.
func HTML(w io.Writer, h *history.History, v []check.Verdict) error {
	f := figuresOf(h)
	p := pageOf(h, v, &f)
	data, err := json.Marshal(dataOf(h, v, &f)) // escapes <, > and &
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	p.Data = template.JS(data)
	p.Styles, p.Scripts, p.Policy = styles, scripts, policy()
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		return fmt.Errorf("render report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// policy is what browsers let the page do: run and apply what is embedded here, by hash, and no more.
func policy() string {
	var b strings.Builder
	b.WriteString("default-src 'none'; base-uri 'none'; form-action 'none'; script-src")
	for _, s := range scripts {
		b.WriteString(source(string(s)))
	}
	b.WriteString("; style-src")
	for _, s := range styles {
		b.WriteString(source(string(s)))
	}
	return b.String()
}

func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// data is what the page's script draws and searches.
type data struct {
	Length    float64    `json:"length"` // seconds
	Outcomes  outcomes   `json:"outcomes"`
	Waits     waits      `json:"waits"`
	Resources []chart    `json:"resources"`
	Faults    []window   `json:"faults"`
	Phases    []window   `json:"phases"`
	Search    searchable `json:"search"`
}

// A window is a part of the run's time, in seconds.
type window struct {
	Name string  `json:"name"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

func dataOf(h *history.History, v []check.Verdict, f *figures) data {
	d := data{
		Length: f.length.Seconds(), Outcomes: outcomesOf(h, f.length), Waits: waitsOf(h, f.length),
		Resources: resourcesOf(h), Faults: []window{}, Phases: []window{}, Search: searchableOf(h, v),
	}
	for _, f := range h.Faults {
		name := cut(printable(strings.TrimSpace(f.Name+" "+f.Target)), 80)
		d.Faults = append(d.Faults, window{name, f.From.Seconds(), f.To.Seconds()})
	}
	for _, p := range h.Phases {
		d.Phases = append(d.Phases, window{cut(printable(p.Name), 40), p.From.Seconds(), p.To.Seconds()})
	}
	return d
}

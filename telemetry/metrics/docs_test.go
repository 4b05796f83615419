package metrics_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/telemetry/metrics"
)

const docs = "../../docs/"

// A series is what is to be known of a metric by those who ask for it.
type series struct {
	kind, help string
	labels     []string
}

// all returns all metrics by their names.
func all(t *testing.T) map[string]series {
	t.Helper()
	known := make(map[string]series)
	inBubble(t, func(t *testing.T, r *rig) {
		c := metrics.NewConnections()
		c.Hooks("main")
		r.MustRegister(c, stateOfConnections{})
		r.live(t)
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			known[f.GetName()] = series{strings.ToLower(f.GetType().String()), f.GetHelp(), labelsOf(f)}
		}
	})
	return known
}

func labelsOf(f *dto.MetricFamily) (names []string) {
	for _, l := range f.GetMetric()[0].GetLabel() {
		names = append(names, l.GetName())
	}
	slices.Sort(names)
	return names
}

// stateOfConnections stands for what Connections shows of a manager, which needs a broker.
type stateOfConnections struct{}

func (stateOfConnections) Describe(chan<- *prometheus.Desc) {}

func (stateOfConnections) Collect(out chan<- prometheus.Metric) {
	for d := range described(metrics.NewConnections()) {
		if name := nameOf(d); name == "rabbitrpc_connection_up" || name == "rabbitrpc_connection_blocked" {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, 1, "main")
		}
	}
}

func described(c prometheus.Collector) <-chan *prometheus.Desc {
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	return descs
}

func nameOf(d *prometheus.Desc) string {
	_, rest, _ := strings.Cut(d.String(), `fqName: "`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(docs + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMetricsAreDocumented compares docs/metrics.md with the metrics that there are, line by line.
func TestMetricsAreDocumented(t *testing.T) {
	known := all(t)
	for _, c := range []prometheus.Collector{metrics.NewClient(), metrics.NewServer(), metrics.NewConnections(), metrics.BuildInfo()} {
		for d := range described(c) {
			if _, ok := known[nameOf(d)]; !ok {
				t.Errorf("%s is described, and was not collected: does live not make it?", nameOf(d))
			}
		}
	}
	page := read(t, "metrics.md")
	for name, s := range known {
		line := fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, s.kind, strings.Join(s.labels, ", "), s.help)
		if !strings.Contains(page, line) {
			t.Errorf("metrics.md does not have the line\n%s", line)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(rabbitrpc_[a-z_]+)`").FindAllStringSubmatch(page, -1) {
		if _, ok := known[m[1]]; !ok {
			t.Errorf("metrics.md has %s, which there is not", m[1])
		}
	}
}

// values are those of labels whose values are ours.
var values = map[string][]string{
	"state":    {"closed", "half-open", "open"},
	"to":       {"closed", "half-open", "open"},
	"presence": {"unknown", "present", "busy", "absent", "missing", "denied"},
	"mode":     {"direct", "queued", "durable", "plain"},
	"code": func() (codes []string) {
		for c := rpc.OK; c <= rpc.Unauthenticated; c++ {
			codes = append(codes, c.String())
		}
		return codes
	}(),
}

// A query is one of a dashboard or a rule. It asks only for what there is.
type query struct {
	*testing.T
	known map[string]series
	expr  string
}

func (q query) check() {
	q.Helper()
	text := strings.NewReplacer("$__rate_interval", "5m").Replace(q.expr)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		q.Errorf("%s: %v", q.expr, err)
		return
	}
	asked := 0
	var all []string // labels of all that it asks for
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			asked++
			all = append(all, q.selector(v)...)
		}
		return nil
	})
	if asked == 0 {
		q.Errorf("%s: asks for no metric", q.expr)
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, l := range a.Grouping {
				if !slices.Contains(all, l) {
					q.Errorf("%s: by %s, which none of the metrics has", q.expr, l)
				}
			}
		}
		return nil
	})
}

// selector checks one metric of a query, and returns its labels.
func (q query) selector(v *parser.VectorSelector) []string {
	base := v.Name
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if b, ok := strings.CutSuffix(v.Name, suffix); ok && q.known[b].kind == "histogram" {
			base = b
		}
	}
	s, ok := q.known[base]
	if !ok {
		q.Errorf("%s: there is no metric %s", q.expr, v.Name)
		return nil
	}
	have := append([]string{"instance", "job"}, s.labels...) // which Prometheus adds
	if base != v.Name {
		have = append(have, "le")
	}
	for _, m := range v.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		if !slices.Contains(have, m.Name) {
			q.Errorf("%s: %s has no label %s", q.expr, v.Name, m.Name)
		}
		for _, value := range strings.Split(m.Value, "|") {
			if closed, ok := values[m.Name]; ok && !slices.Contains(closed, value) {
				q.Errorf("%s: %s is never %q", q.expr, m.Name, value)
			}
		}
	}
	return have
}

func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Type string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "dashboards/rabbitrpc.json")), &board); err != nil {
		t.Fatal(err)
	}
	known, shown, ids := all(t), make(map[string]bool), make(map[int]bool)
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the ID %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			query{t, known, target.Expr}.check()
			for name := range known {
				shown[name] = shown[name] || strings.Contains(target.Expr, name)
			}
		}
	}
	for name := range known {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// A rule is an alert rule of Prometheus.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	d := yaml.NewDecoder(strings.NewReader(read(t, "alerts/rabbitrpc.rules.yml")))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d rules were found", len(all))
	}
	return all
}

// TestRules checks that each alert asks for what there is, and that docs/operations.md says what to do, in the same order.
func TestRules(t *testing.T) {
	known := all(t)
	var names []string
	for _, r := range rules(t) {
		names = append(names, r.Alert)
		query{t, known, r.Expr}.check()
		if s := r.Labels["severity"]; s != "page" && s != "ticket" || r.Annotations["summary"] == "" {
			t.Errorf("%s: severity %q, summary %q", r.Alert, s, r.Annotations["summary"])
		}
	}
	_, section, _ := strings.Cut(read(t, "operations.md"), "\n## Alerts: what to do\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(section, -1) {
		told = append(told, m[1])
	}
	if !slices.Equal(told, names) {
		t.Errorf("operations.md says what to do for\n%q, the alerts are\n%q", told, names)
	}
}

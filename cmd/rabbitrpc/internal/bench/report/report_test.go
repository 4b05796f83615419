package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
)

var update = flag.Bool("update", false, "write the golden file")

// synthetic is a report with numbers that can be checked by hand.
func synthetic() *Report {
	round := func(ours, theirs float64) Round {
		return Round{
			{Calls: 100, Rate: ours, P50: 100, P90: 990, P99: 2000, P999: 45_600, Max: 1_200_000,
				ClientCPU: 20, ServerCPU: 30, BrokerCPU: 50, ClientAllocs: 100, ServerAllocs: 120},
			{Calls: 90, Failed: 2, Failure: "broken", Missed: 8, Rate: theirs, P50: 200, P90: 990, P99: 2000, P999: 45_600, Max: 1_200_000,
				ClientCPU: 10, ServerCPU: 15, BrokerCPU: 25, ClientAllocs: 50, ServerAllocs: 60},
		}
	}
	return &Report{
		Command: "rabbitrpc bench", Broker: "RabbitMQ 0", Seconds: 2,
		Machine: Machine{CPU: "A processor", Processors: 2, System: "linux/amd64", Go: "go1", Load: "0.5"},
		Sides:   []worker.Side{{Name: "rabbitrpc", Kind: worker.Own}, {Name: "a<b", Kind: worker.Raw}},
		Cells: []CellResult{
			{Cell: worker.Cell{Mode: worker.Direct, Callers: 1, Size: 16}, Rounds: []Round{round(1000, 500), round(1200, 400), round(800, 100)}},
			{Cell: worker.Cell{Mode: worker.Direct, Callers: 16, Size: 16}, Rounds: []Round{round(9000, 4000)}},
			{Cell: worker.Cell{Mode: worker.Durable, Callers: 1, Size: 16}, Rounds: []Round{round(100, 100)}},
		},
		Holds:      []Hold{{Side: "rabbitrpc", Calls: 1000, Heap: 1500, Stacks: 8000, Goroutines: 8}},
		Incomplete: true,
	}
}

func TestFigures(t *testing.T) {
	c := &synthetic().Cells[0]
	rate := columns[0].get
	for _, tt := range []struct {
		what      string
		got, want float64
	}{
		{"median of ours", c.Median(0, rate), 1000},
		{"median of theirs", c.Median(1, rate), 400},
		{"ratio: the median of 2, 3 and 8", c.Ratio(1, rate), 3},
		{"spread: half of 400 in 1000", c.Spread(0, rate), 0.2},
		{"ratio of what is not known", c.Ratio(1, func(*Measurement) float64 { return 0 }), 0},
		{"median of two", median([]float64{4, 2}), 3},
		{"failed", float64(synthetic().Failed()), 5 * 10},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	var out strings.Builder
	if err := synthetic().Text(&out); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "report.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestShort(t *testing.T) {
	for us, want := range map[float64]string{
		0.5: "0.50µs", 9.99: "9.99µs", 9.999: "10.0µs", 99.96: "100µs", 999.4: "999µs", 999.6: "1.00ms", 45_600: "45.6ms", 999_600: "1.00s", 12e6: "12.0s",
	} {
		if got := short(us); got != want {
			t.Errorf("%v: got %s, want %s", us, got, want)
		}
	}
}

func TestSVG(t *testing.T) {
	var out strings.Builder
	if err := synthetic().SVG(&out); err != nil {
		t.Fatal(err)
	}
	shapes := make(map[string]int)
	for d := xml.NewDecoder(strings.NewReader(out.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("it is no XML: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok {
			shapes[e.Name.Local]++
		}
	}
	// Three cells of two sides: two panels of bars, one of four dots; and the legend.
	if shapes["rect"] != 2*3*2+2 || shapes["circle"] != 3*2*4 {
		t.Errorf("%d bars and %d dots, want 14 and 24", shapes["rect"], shapes["circle"])
	}
	if strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "Inf") {
		t.Error("it has numbers that are none")
	}
}

func TestScale(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 1: 1, 3: 4, 6.1: 8, 8.5: 10, 1200: 2000, 9000: 10_000} {
		if got := nice(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("nice(%v) is %v, want %v", v, got, want)
		}
	}
	s := scale{low: 10, high: 1000, log: true}
	if got := s.place(100); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("100 between 10 and 1000 is at %v, want 0.5", got)
	}
	if n := len(s.ticks()); n != 3 {
		t.Errorf("%d ticks, want 3", n)
	}
	for us, want := range map[float64]string{10: "10 µs", 1000: "1 ms", 1e6: "1 s"} {
		if got := roundTime(us); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTextShowsNothingOfProcessesOfOthers(t *testing.T) {
	r := synthetic()
	r.Sides, r.Holds = r.Sides[:1], nil
	r.Cells = []CellResult{{Cell: worker.Cell{Mode: worker.Direct, Callers: 1, Size: 16}, Rounds: []Round{{{Calls: 1, Rate: 1, ClientCPU: 20, ClientAllocs: 100}}}}}
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	if want := []string{"20.0", "-", "-", "-", "100", "-"}; !strings.Contains(strings.Join(strings.Fields(b.String()), " "), strings.Join(want, " ")) {
		t.Errorf("got %s, want %q for CPU and allocations", b.String(), want)
	}
}

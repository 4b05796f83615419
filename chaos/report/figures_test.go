package report

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		results []check.Result
		want    check.Result
	}{
		{nil, check.Inconclusive},
		{[]check.Result{check.NotChecked}, check.Inconclusive},
		{[]check.Result{check.Holds, check.NotChecked}, check.Holds},
		{[]check.Result{check.Holds, check.Inconclusive}, check.Inconclusive},
		{[]check.Result{check.Inconclusive, check.Broken, check.Holds}, check.Broken},
	} {
		var v []check.Verdict
		for _, r := range tt.results {
			v = append(v, check.Verdict{Result: r})
		}
		if got := verdict(v); got != tt.want {
			t.Errorf("%v come to %q, want %q", tt.results, got, tt.want)
		}
	}
}

// Of a large history the page has what somebody will look for.
func TestChoose(t *testing.T) {
	h := &history.History{}
	for i := range 3 * maxRows {
		h.Calls = append(h.Calls, history.Call{ID: fmt.Sprintf("id-%d", i), Attempts: 1, Outcome: history.OK})
	}
	h.Calls[7].Outcome = history.Ambiguous
	h.Calls[40_001].Attempts = 2
	h.Calls[50_001].ID, h.Calls[50_001].Client = "id-7", "another"
	v := []check.Verdict{{Evidence: []string{"call id-44445: effects 1, 2", "calls (id-44447)"}}}
	got := choose(h, v)
	if len(got) != maxRows {
		t.Errorf("%d calls, want %d", len(got), maxRows)
	}
	for _, want := range []int{7, 40_001, 50_001, 44_445, 44_447} {
		if !slices.Contains(got, want) {
			t.Errorf("call %d is not among them", want)
		}
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != maxRows {
		t.Errorf("%d different calls, want %d", n, maxRows)
	}
	if last := got[len(got)-1]; last < 59_000 {
		t.Errorf("the sample ends at %d of 60 000", last)
	}
}

func TestResources(t *testing.T) {
	h := &history.History{Run: history.Run{Servers: []string{"server-1"}}}
	for i := range 3000 {
		h.Samples = append(h.Samples, history.Sample{At: time.Duration(i) * time.Second, Value: map[string]float64{
			"driver goroutines": 20, "server-1 goroutines": 30, "server-1 rss": float64(i % 100), "in flight": 3, "dials": 1,
		}})
	}
	h.Samples[1234].Value["dials"] = 99 // a peak that thinning must not lose
	charts := resourcesOf(h)
	var got []string
	for _, c := range charts {
		for _, l := range c.Lines {
			got = append(got, fmt.Sprintf("%s/%s %v", c.Title, l.Name, slices.Max(l.V)))
		}
		if len(c.At) > maxPoints || len(c.At) != len(c.Lines[0].V) {
			t.Errorf("%s has %d times and %d values", c.Title, len(c.At), len(c.Lines[0].V))
		}
	}
	want := []string{"dials/dials 99", "goroutines/driver 20", "goroutines/server-1 30", "in flight/in flight 3", "rss/server-1 99"}
	if !slices.Equal(got, want) {
		t.Errorf("charts %q, want %q", got, want)
	}
}

func TestStep(t *testing.T) {
	for length, want := range map[time.Duration]time.Duration{
		0: finest, 5 * time.Minute: finest, 15 * time.Minute: 200 * time.Millisecond, time.Hour: time.Second,
		24 * time.Hour: 20 * time.Second, 1<<63 - 1: 10_000_000 * time.Second / 5,
	} {
		if got := step(length); got != want {
			t.Errorf("step of %v is %v, want %v", length, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{number(0), "0"}, {number(999), "999"}, {number(1234567), "1 234 567"}, {number(-12345), "-12 345"},
		{span(0), "0 ms"}, {span(1234 * time.Microsecond), "1.23 ms"}, {span(9996 * time.Microsecond), "10.0 ms"},
		{span(999600 * time.Microsecond), "1.00 s"}, {span(42 * time.Second), "42.0 s"}, {span(303 * time.Second), "5 min 3 s"},
		{span(time.Minute), "1 min"}, {span(2*time.Hour + 3*time.Minute), "2 h 3 min"}, {span(-time.Second), "-1.00 s"},
		{share(0, 10), "0 %"}, {share(10, 10), "100 %"}, {share(0, 0), "0 %"}, {share(1, 1_000_000), "< 0.01 %"},
		{share(999_999, 1_000_000), "> 99.99 %"}, {share(1, 3), "33.3 %"}, {share(996, 1000), "99.60 %"},
		{printable("a\tb\n\x1b\u202e\xff\U000e0001é"), `a\tb\n\u001b\u202e\xff\U000e0001é`}, {cut("abcdef", 4), "abc…"}, {cut("abcd", 4), "abcd"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

package report

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

var update = flag.Bool("update", false, "write the golden files")

func TestText(t *testing.T) {
	h := synthetic(42, 8, time.Minute)
	for _, tt := range []struct {
		file string
		h    *history.History
		v    []check.Verdict
	}{
		{"testdata/broken.txt", h, verdicts(h, false)},
		{"testdata/passed.txt", h, verdicts(h, true)},
		{"testdata/empty.txt", new(history.History), nil},
	} {
		var got bytes.Buffer
		if err := Text(&got, tt.h, tt.v); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(tt.file, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s is not what is written; look at it and run with -update:\n%s", tt.file, &got)
		}
	}
}

// Whatever processes say, each line is one of ours: it fits, and a terminal does nothing on it.
func TestTextOfHostileStrings(t *testing.T) {
	var got bytes.Buffer
	if err := Text(&got, hostileHistory(), hostileVerdicts()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got.String()) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > columns {
			t.Errorf("%d columns: %s", n, line)
		}
		for _, r := range line {
			if !unicode.IsPrint(r) || r == utf8.RuneError {
				t.Errorf("%q in %q", r, line)
			}
		}
	}
	if !strings.HasPrefix(got.String(), "BROKEN: </script>") {
		t.Errorf("begins with %.40q", got.String())
	}
}

func TestProgress(t *testing.T) {
	states := []State{
		{Elapsed: 0, Total: 5 * time.Minute, Phase: "warm up"},
		{Elapsed: 4 * time.Second, Total: 5 * time.Minute, Phase: "warm up", OK: 2000},
		{Elapsed: 10 * time.Second, Total: 5 * time.Minute, Phase: "faults", OK: 4700, Ambiguous: 3, Rejected: 97,
			Faults: []string{"kill server-1", "half-open\x1b[2J clients"}},
		{Elapsed: 11 * time.Second, Total: 5 * time.Minute, Phase: "faults", OK: 5200, Ambiguous: 3, Rejected: 97},
	}
	for _, tt := range []struct {
		name    string
		columns int
		want    []string
	}{
		{"a file", 0, []string{
			"0:00/5:00  warm up  0 calls (0/s)  0 ok\n",
			"0:10/5:00  faults  4 800 calls (467/s)  4 700 ok  97 rejected  3 ambiguous  now: kill server-1, half-open\\u001b[2J clients\n",
		}},
		{"a terminal", 60, []string{
			"\r0:00/5:00  warm up  0 calls (0/s)  0 ok",
			"\r0:04/5:00  warm up  2 000 calls (500/s)  2 000 ok",
			"\r0:10/5:00  faults  4 800 calls (467/s)  4 700 ok  97 rejec…",
			"\r0:11/5:00  faults  5 300 calls (500/s)  5 200 ok  97 rejec…",
			"\n",
		}},
		{"a terminal, and a line that becomes shorter", 200, nil},
	} {
		var got strings.Builder
		p := NewProgress(&got, tt.columns)
		for _, s := range states {
			p.Show(s)
		}
		p.Done()
		if want := strings.Join(tt.want, ""); tt.want != nil && got.String() != want {
			t.Errorf("%s:\n%q\nwant\n%q", tt.name, got.String(), want)
		}
		lines := strings.Split(strings.TrimSuffix(got.String(), "\n"), "\r")
		if last := lines[len(lines)-1]; tt.want == nil && len(last) < len(lines[len(lines)-2]) {
			t.Errorf("%s: the end of the line before is left over: %q", tt.name, got.String())
		}
	}
}

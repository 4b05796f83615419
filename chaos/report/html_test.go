package report

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// hostile is what an error may say that comes from a process that is made to fail.
const hostile = "</script><script>document.title='owned'</script><!-- <img src=x onerror=alert(1)> \x00\x1b[31m\r\n\u2028\u202e\xff"

func hostileHistory() *history.History {
	s := hostile
	return &history.History{
		Run: history.Run{
			Scenario: s, Servers: []string{s}, Store: s, Promise: history.Promise(s), Versions: []string{s},
			Schedule: json.RawMessage(s),
		},
		Calls: []history.Call{
			{
				ID: s, Client: s, Process: s, Kind: history.Kind(s), Op: s, Tag: s, Outcome: history.Outcome(s), Code: s, Error: s,
				Server: s, Input: json.RawMessage(s), Output: json.RawMessage(s), Invoked: -time.Second, Returned: -time.Minute,
			},
			{Outcome: history.OK, Returned: time.Second},
		},
		Faults:   []history.Fault{{Name: s, Target: s, Text: s, Error: s, From: -time.Second}},
		Phases:   []history.Phase{{Name: s, To: time.Second}},
		Sessions: []history.Session{{Process: s, Error: s}},
		Samples:  []history.Sample{{Value: map[string]float64{s: -1, "driver " + s: 1}}},
	}
}

func hostileVerdicts() []check.Verdict {
	return []check.Verdict{
		{Invariant: hostile, Title: hostile, Result: check.Result(hostile), Detail: hostile},
		{Invariant: "I1", Title: hostile, Result: check.Broken, Detail: hostile, Evidence: []string{hostile, strings.Repeat(hostile, 40)}},
	}
}

func writePage(t *testing.T, name string, h *history.History, v []check.Verdict) {
	t.Helper()
	if err := os.WriteFile(name, html(t, h, v), 0o600); err != nil {
		t.Fatal(err)
	}
}

func html(t *testing.T, h *history.History, v []check.Verdict) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, h, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHTML(t *testing.T) {
	h := synthetic(42, 8, time.Minute)
	page := string(html(t, h, verdicts(h, false)))
	for _, want := range []string{
		`<html lang="en">`, `<title>broken: bank, seed 42</title>`, `<span id="result">broken</span>`,
		`default-src &#39;none&#39;`, "What must always hold did not: I2.", "<h1>", "<main>", `<dt>Ambiguous</dt>`,
		`<li class="broken">`, `<li class="inconclusive">`, `<li class="holds">`, `<li class="not-checked">`,
		"SIGKILL in the middle of a call", "postgres with transactions", "exactly once", "RabbitMQ 4.1.4",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Index(page, `<li class="broken">`) > strings.Index(page, `<li class="holds">`) {
		t.Error("what is broken does not come first")
	}
	if found := regexp.MustCompile(`(?i)<(link|img|iframe|base)\b|\s(src|style|on\w+)=|@import|url\(`).FindString(noScripts(page)); found != "" {
		t.Errorf("the page has %q, which fetches, or needs a laxer policy", found)
	}
}

// noScripts returns a page without what is in its scripts.
func noScripts(page string) string {
	return regexp.MustCompile(`(?s)<script[^>]*>.*?</script>`).ReplaceAllString(page, "")
}

func TestHTMLOfHostileStrings(t *testing.T) {
	page := string(html(t, hostileHistory(), hostileVerdicts()))
	if n, want := strings.Count(page, "<script"), len(scripts)+1; n != want {
		t.Errorf("%d scripts begin, want %d", n, want)
	}
	for _, bad := range []string{"<img", "<!--", "\x00", "\x1b", "\r", "\u2028", "\u202e", "\xff", "\ufffd"} {
		if strings.Contains(strings.Replace(page, string(scripts[0]), "", 1), bad) {
			t.Errorf("%q is in the page as it is", bad)
		}
	}
	text := regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`).FindStringSubmatch(page)
	var d data
	if err := json.Unmarshal([]byte(text[1]), &d); err != nil {
		t.Fatalf("the data cannot be read: %v", err)
	}
	if got, want := d.Search.Rows[0][0], printable(hostile); got != want {
		t.Errorf("ID %q, want %q", got, want)
	}
}

func TestHTMLOfNothing(t *testing.T) {
	page := string(html(t, new(history.History), nil))
	for _, want := range []string{`<span id="result">inconclusive</span>`, "No invariant was checked", "None was checked.", "There was none."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestHTMLOfMillionCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds and half a gigabyte")
	}
	h := synthetic(7, 192, 15*time.Minute)
	for i := len(h.Calls); len(h.Calls) < 1_000_000; i++ {
		h.Calls = append(h.Calls, h.Calls[i%len(h.Calls)])
	}
	v := verdicts(h, false)
	start := time.Now()
	page := html(t, h, v)
	t.Logf("%d calls: %d bytes in %v", len(h.Calls), len(page), time.Since(start))
	if len(page) > 5<<20 {
		t.Errorf("the page has %d bytes, want 5 MiB at most", len(page))
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

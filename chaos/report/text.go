package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/rabbitrpc/rabbitrpc/chaos/check"
	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// columns is how wide a line of text is at most.
const columns = 120

// headlines say what a run comes to.
var headlines = map[check.Result]string{
	check.Holds: "passed", check.Broken: "broken", check.Inconclusive: "inconclusive",
}

// Text writes a summary for terminals and logs, in lines of at most 120 characters and without control characters.
func Text(w io.Writer, h *history.History, v []check.Verdict) error {
	var b bytes.Buffer
	f := figuresOf(h)
	textHead(&b, h, v, &f)
	textVerdicts(&b, v)
	textCalls(&b, &f)
	textFaults(&b, h)
	textEvidence(&b, v)
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func textHead(b *bytes.Buffer, h *history.History, v []check.Verdict, f *figures) {
	r := &h.Run
	textLine(b, "%s: %s, seed %d, %s", strings.ToUpper(headlines[verdict(v)]), r.Scenario, r.Seed, span(f.length))
	textLine(b, "%s, %s, store %s, promise %s",
		counted(r.Callers, "caller", "callers"), counted(len(r.Servers), "server", "servers"), r.Store, r.Promise)
	if len(r.Versions) > 0 {
		textLine(b, "%s", strings.Join(r.Versions, ", "))
	}
}

func textVerdicts(b *bytes.Buffer, v []check.Verdict) {
	b.WriteString("\ninvariants: " + tally(v) + "\n")
	title := 0
	for i := range v {
		title = max(title, min(44, utf8.RuneCountInString(printable(v[i].Title))))
	}
	for i := range v {
		result := string(v[i].Result)
		if v[i].Result == check.Broken {
			result = "BROKEN"
		}
		textLine(b, "  %-4s %-12s  %s  %s", v[i].Invariant, result, pad(cut(printable(v[i].Title), title), title), v[i].Detail)
	}
}

// tally says how many invariants came to what.
func tally(v []check.Verdict) string {
	holds := "holds"
	if count(v, check.Holds) != 1 {
		holds = "hold"
	}
	return fmt.Sprintf("%d %s, %d broken, %d inconclusive, %d not checked",
		count(v, check.Holds), holds, count(v, check.Broken), count(v, check.Inconclusive), count(v, check.NotChecked))
}

func textCalls(b *bytes.Buffer, f *figures) {
	fmt.Fprintf(b, "\ncalls: %s\n", number(f.calls))
	for _, l := range [...]struct {
		name string
		n    int
		more string
	}{
		{"ok", f.ok, ""},
		{"rejected", f.rejected, misuseOf(f)},
		{"failed", f.failed, ""},
		{"ambiguous", f.ambiguous, ""},
		{"lost", f.lost, ""},
	} {
		textLine(b, "  %-9s  %11s  %9s%s", l.name, number(l.n), share(l.n, f.calls), l.more)
	}
	textLine(b, "  sent again %s, replayed %s", counted(f.resent, "time", "times"), counted(f.replayed, "time", "times"))
	textLine(b, "  callers waited p50 %s, p99 %s, at most %s", span(f.p50), span(f.p99), span(f.most))
}

func misuseOf(f *figures) string {
	if f.misuse == 0 {
		return ""
	}
	return "  " + number(f.misuse) + " of them for misuse, as they must be"
}

func textFaults(b *bytes.Buffer, h *history.History) {
	fmt.Fprintf(b, "\nfaults: %d, of which %d had an effect\n", len(h.Faults), h.Happened("faults"))
	back := check.Recoveries(h)
	for i, f := range h.Faults {
		recovery := "no call was ok after it"
		if back[i].Found {
			recovery = "recovered in " + span(back[i].Took)
		}
		what := cut(printable(f.Name+" "+f.Target), 32)
		textLine(b, "  %9s - %9s  %s  %s, %s", instant(f.From), instant(f.To), pad(what, 32), bites(f.Bites), recovery)
		if f.Error != "" {
			textLine(b, "    error: %s", f.Error)
		}
	}
}

func bites(n int) string {
	if n == 0 {
		return "no effect"
	}
	return counted(n, "effect", "effects")
}

func textEvidence(b *bytes.Buffer, v []check.Verdict) {
	for _, v := range worstFirst(v) {
		if v.Result != check.Broken && v.Result != check.Inconclusive {
			return
		}
		b.WriteByte('\n')
		textLine(b, "%s is %s: %s", v.Invariant, v.Result, v.Title)
		wrap(b, "  ", v.Detail)
		for _, e := range v.Evidence {
			wrap(b, "  - ", e)
		}
	}
}

// textLine writes one line, and cuts what is too long.
func textLine(b *bytes.Buffer, format string, args ...any) {
	line := strings.TrimRight(printable(fmt.Sprintf(format, args...)), " ")
	b.WriteString(cut(line, columns) + "\n")
}

// wrap writes a text on as many lines as it takes, at most eight.
func wrap(b *bytes.Buffer, indent, text string) {
	words := strings.Fields(printable(text))
	for lines := 0; len(words) > 0; lines++ {
		line := indent + words[0]
		for words = words[1:]; len(words) > 0; words = words[1:] {
			if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(words[0]) > columns {
				break
			}
			line += " " + words[0]
		}
		if lines == 7 && len(words) > 0 {
			b.WriteString(cut(line, columns-2) + " …\n")
			return
		}
		b.WriteString(cut(line, columns) + "\n")
		indent = strings.Repeat(" ", utf8.RuneCountInString(indent))
	}
}

// pad fills s with spaces to n characters.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

package check

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// A ruling becomes a verdict: a check adds to it what it sees.
type ruling struct {
	seen   int      // things looked at
	detail []string // about them
	broken evidence
	unsure evidence
}

const maxEvidence = 5

// evidence keeps the first few lines, and how many there would be.
type evidence struct {
	lines []string
	n     int
}

func (e *evidence) add(format string, args []any) {
	if e.n++; len(e.lines) < maxEvidence { // what nobody reads is not formatted either: there may be a million
		e.lines = append(e.lines, fmt.Sprintf(format, args...))
	}
}

// more adds a line about the one before.
func (e *evidence) more(format string, args ...any) {
	if len(e.lines) < maxEvidence {
		e.lines = append(e.lines, fmt.Sprintf(format, args...))
	}
}

// saw says how much was looked at.
func (r *ruling) saw(n int, noun string) {
	r.seen += n
	r.detail = append(r.detail, count(n, noun))
}

// note adds to the detail.
func (r *ruling) note(format string, args ...any) {
	r.detail = append(r.detail, fmt.Sprintf(format, args...))
}

// breaks adds evidence against the invariant.
func (r *ruling) breaks(format string, args ...any) { r.broken.add(format, args) }

// doubts adds what keeps the invariant from being known to hold.
func (r *ruling) doubts(format string, args ...any) { r.unsure.add(format, args) }

func (r *ruling) verdict(inv Invariant) Verdict {
	v := Verdict{Invariant: inv.ID, Title: inv.Title}
	switch {
	case r.broken.n > 0:
		v.Result, v.Evidence = Broken, r.broken.lines
		r.note("%s broken", digits(r.broken.n))
	case r.unsure.n > 0:
		v.Result, v.Evidence = Inconclusive, r.unsure.lines
	case r.seen > 0:
		v.Result = Holds
	default:
		v.Result = NotChecked
	}
	v.Detail = strings.Join(r.detail, ", ")
	return v
}

// count says how many: "1 call", "41 203 entries".
func count(n int, noun string) string {
	stem, y := strings.CutSuffix(noun, "y")
	switch {
	case n == 1:
	case y && !strings.HasSuffix(stem, "e"): // keys
		noun = stem + "ies"
	default:
		noun += "s"
	}
	if n == 0 {
		return "no " + noun
	}
	return digits(n) + " " + noun
}

// digits writes 41203 as "41 203".
func digits(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// at writes a time of the run.
func at(t time.Duration) string { return fmt.Sprintf("%.3f s", t.Seconds()) }

// who names a call so that it can be found in the history.
func who(c *history.Call) string {
	return fmt.Sprintf("call %s of %s by %s at %s: %s", c.ID, c.Client, c.Process, at(c.Invoked), c.Op)
}

// ending tells how a call ended that was not ok.
func ending(c *history.Call) string {
	return fmt.Sprintf("%s ended %s at %s, %s: %s", who(c), c.Outcome, at(c.Returned), c.Code, short(c.Error))
}

// short keeps a text of any origin on a line, and readable.
func short[T ~string | ~[]byte](text T) string {
	const most = 160
	if len(text) > most {
		return fmt.Sprintf("%q...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}

package report

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// A State is how far a run is.
type State struct {
	Elapsed, Total                        time.Duration
	Phase                                 string
	OK, Rejected, Failed, Ambiguous, Lost int      // calls so far
	Faults                                []string // that are active
}

func (s *State) calls() int { return s.OK + s.Rejected + s.Failed + s.Ambiguous + s.Lost }

// A Progress shows how far a run is: in place on a terminal, else with a line every ten seconds of the run.
type Progress struct {
	w       io.Writer
	columns int // of the terminal; 0 if it is none
	shown   int // characters of the line that is there
	next    time.Duration
	mark    State // since which the rate is measured
	rate    float64
}

// NewProgress makes a Progress. A writer that is no terminal has no columns.
func NewProgress(w io.Writer, columns int) *Progress {
	return &Progress{w: w, columns: columns}
}

// Show shows the state, unless it is not yet time for the next line. It may be called as often as one likes. What cannot be
// written is lost: a run does not end for that.
func (p *Progress) Show(s State) {
	p.measure(&s)
	if p.columns > 0 {
		text := cut(p.line(&s), max(2, p.columns-1)) // in the last column, some terminals go on to the next line
		n := utf8.RuneCountInString(text)
		fmt.Fprintf(p.w, "\r%s", pad(text, p.shown))
		p.shown = n
		return
	}
	if s.Elapsed >= p.next {
		const every = 10 * time.Second
		p.next = s.Elapsed.Truncate(every) + every
		fmt.Fprintln(p.w, p.line(&s))
	}
}

// Done ends the line on a terminal, so that others may follow.
func (p *Progress) Done() {
	if p.shown > 0 {
		fmt.Fprintln(p.w)
		p.shown = 0
	}
}

// measure takes the rate of the last second or more, which does not flicker.
func (p *Progress) measure(s *State) {
	if d := s.Elapsed - p.mark.Elapsed; d >= time.Second {
		p.rate = float64(s.calls()-p.mark.calls()) / d.Seconds()
		p.mark = *s
	}
}

func (p *Progress) line(s *State) string {
	parts := []string{
		clock(s.Elapsed) + "/" + clock(s.Total),
		s.Phase,
		fmt.Sprintf("%s (%s/s)", counted(s.calls(), "call", "calls"), number(int(p.rate+0.5))),
		number(s.OK) + " ok",
	}
	for _, o := range [...]struct {
		n    int
		name string
	}{{s.Rejected, "rejected"}, {s.Failed, "failed"}, {s.Ambiguous, "ambiguous"}, {s.Lost, "lost"}} {
		if o.n > 0 {
			parts = append(parts, number(o.n)+" "+o.name)
		}
	}
	if len(s.Faults) > 0 {
		parts = append(parts, "now: "+strings.Join(s.Faults, ", "))
	}
	return printable(strings.Join(parts, "  "))
}

func clock(d time.Duration) string {
	d = max(0, d)
	return fmt.Sprintf("%d:%02d", d/time.Minute, d/time.Second%60)
}

package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Sizes of the drawing, in pixels.
const (
	panelWidth  = 300
	panelHeight = 170
	gapX, gapY  = 64, 78
	margin      = 56
	legend      = 34
)

// style makes the drawing fit for light and dark pages.
const style = `<style>
svg { --ink: #1f2328; --line: #d8dee4; background: #ffffff; font: 12px system-ui, sans-serif }
.s0 { --c: #2563eb } .s1 { --c: #d97706 } .s2 { --c: #059669 } .s3 { --c: #9333ea }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --line: #30363d; background: #0d1117 }
  .s0 { --c: #60a5fa } .s1 { --c: #fbbf24 } .s2 { --c: #34d399 } .s3 { --c: #c084fc }
}
text { fill: var(--ink) } .title { font-weight: 600 }
.grid { stroke: var(--line) } .range { stroke: var(--ink); stroke-width: 1.5 }
.bar, .dot { fill: var(--c) } .span { stroke: var(--c); stroke-width: 2 }
</style>
`

// A panel shows one thing of all cells of a group, side by side.
type panel struct {
	title string
	label func(float64) string
	log   bool     // dots on a scale of powers of ten; else bars from zero
	marks []Figure // of a bar the first counts
}

var panels = [...]panel{
	{"calls a second", compact, false, []Figure{columns[0].get}},
	{"p50, p90, p99, p99.9", roundTime, true, []Figure{columns[1].get, columns[2].get, columns[3].get, columns[4].get}},
	{"CPU of both sides, µs a call", compact, false, []Figure{columns[8].get}},
}

// SVG draws the report: a row of panels for each mode and size.
func (r *Report) SVG(w io.Writer) error {
	groups := r.groups()
	width := margin + len(panels)*(panelWidth+gapX)
	height := legend + len(groups)*(panelHeight+gapY)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d">`+"\n%s", width, height, style)
	x := margin
	for i, s := range r.Sides {
		fmt.Fprintf(&b, `<g class="s%d"><rect class="bar" x="%d" y="10" width="12" height="12"/><text x="%d" y="20">%s</text></g>`+"\n",
			i%4, x, x+18, escape(s.Name))
		x += 40 + 8*len(s.Name)
	}
	for i, cells := range groups {
		for j := range panels {
			c := canvas{&b, margin + j*(panelWidth+gapX), legend + i*(panelHeight+gapY) + 34}
			c.panel(&panels[j], cells, len(r.Sides))
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace

// A canvas is where a panel is drawn: its upper left corner.
type canvas struct {
	*strings.Builder
	x, y int
}

func (c canvas) panel(p *panel, cells []CellResult, sides int) {
	s := p.scale(cells, sides)
	fmt.Fprintf(c, `<text class="title" x="%d" y="%d">%s, %d bytes: %s</text>`+"\n", c.x, c.y-12, cells[0].Mode, cells[0].Size, p.title)
	for _, tick := range s.ticks() {
		y := c.at(s, tick)
		fmt.Fprintf(c, `<path class="grid" d="M%d %.1fh%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			c.x, y, panelWidth, c.x-6, y+4, p.label(tick))
	}
	room := float64(panelWidth) / float64(len(cells))
	bar := min(room*0.8/float64(sides), 40)
	for i := range cells {
		middle := float64(c.x) + room*(float64(i)+0.5)
		fmt.Fprintf(c, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", middle, c.y+panelHeight+18, callers(cells[i].Callers))
		for side := range sides {
			x := middle + bar*(float64(side)-float64(sides)/2)
			fmt.Fprintf(c, `<g class="s%d">`, side%4)
			if p.log {
				c.dots(p, s, &cells[i], side, x+bar/2)
			} else {
				c.bar(p, s, &cells[i], side, x+bar*0.05, bar*0.9)
			}
			c.WriteString("</g>\n")
		}
	}
}

// bar draws the median as a bar, and the range of the rounds as a line.
func (c canvas) bar(p *panel, s scale, cell *CellResult, side int, x, width float64) {
	v := cell.values(side, p.marks[0])
	top := c.at(s, median(v))
	fmt.Fprintf(c, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x, top, width, float64(c.y+panelHeight)-top)
	low, high := c.at(s, slices.Min(v)), c.at(s, slices.Max(v))
	fmt.Fprintf(c, `<path class="range" d="M%.1f %.1fV%.1f"/>`, x+width/2, low, high)
}

func (c canvas) dots(p *panel, s scale, cell *CellResult, side int, x float64) {
	first, last := cell.Median(side, p.marks[0]), cell.Median(side, p.marks[len(p.marks)-1])
	fmt.Fprintf(c, `<path class="span" d="M%.1f %.1fV%.1f"/>`, x, c.at(s, first), c.at(s, last))
	for _, mark := range p.marks {
		fmt.Fprintf(c, `<circle class="dot" cx="%.1f" cy="%.1f" r="4"/>`, x, c.at(s, cell.Median(side, mark)))
	}
}

func callers(n int) string {
	if n == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", n)
}

// at returns the height of a value.
func (c canvas) at(s scale, v float64) float64 { return float64(c.y) + panelHeight*(1-s.place(v)) }

package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// number writes n in groups of three: 1 234 567.
func number(n int) string {
	digits := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), " ")
}

// span writes a duration in three digits and a unit, or in two units beyond a minute.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-max(d, -1<<62)) // the least of all has no opposite
	case d < 999500*time.Microsecond:
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	case d < 59950*time.Millisecond:
		return digits(d.Seconds()) + " s"
	}
	d = d.Round(time.Second)
	if d < time.Hour {
		return two(int(d/time.Minute), "min", int(d/time.Second)%60, "s")
	}
	return two(int(d/time.Hour), "h", int(d/time.Minute)%60, "min")
}

func digits(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 9.995:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case x < 99.95:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

func two(large int, unit string, small int, smaller string) string {
	if small == 0 {
		return fmt.Sprintf("%s %s", number(large), unit)
	}
	return fmt.Sprintf("%s %s %d %s", number(large), unit, small, smaller)
}

// instant writes a time of the run, so that a column of them is in line.
func instant(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// share writes n as a part of all, and never rounds what is there to nothing, nor what is missing to all.
func share(n, all int) string {
	p := 100 * float64(n) / float64(max(all, 1))
	switch {
	case n == 0:
		return "0 %"
	case n == all:
		return "100 %"
	case p < 0.01:
		return "< 0.01 %"
	case p > 99.99:
		return "> 99.99 %"
	case p < 1, p > 99:
		return fmt.Sprintf("%.2f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

// counted writes how many of a thing there are.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// printable returns s on one line, with what a terminal or browser would act on, or not show, escaped: no text of a
// process may pass for one of ours, or hide one.
func printable(s string) string {
	plain := true
	for _, r := range s {
		plain = plain && unicode.IsPrint(r) && r != utf8.RuneError
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(r)): // no UTF-8
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// cut returns the first n characters of s, the last of which is an ellipsis if there are more.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

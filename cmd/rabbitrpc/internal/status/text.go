package status

import (
	"strconv"
	"strings"
	"unicode"
)

// printable returns s with what a reader could not see, or a terminal would act on, escaped as in Go's strings.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// cut returns s, or its beginning if it has more than maxText characters.
func cut(s string) string {
	count := 0
	for i := range s {
		if count++; count > maxText {
			return s[:i] + "…"
		}
	}
	return s
}

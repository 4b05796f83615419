package status

import (
	"errors"
	"strconv"
	"strings"
	"unicode"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// textOf returns what people read of the error of a call: what crosses the wire, and no more.
func textOf(err error) string {
	if e, ok := errors.AsType[*rpc.Error](err); ok {
		return printable(cut(e.Message, maxText))
	}
	return "an error without a code: its text is in the log"
}

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

// cut returns s, or its beginning if it has more than n characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	count := 0
	for i := range s {
		if count++; count > n {
			return s[:i] + "…"
		}
	}
	return s
}

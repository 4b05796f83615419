package main

import (
	"io"
	"os"
)

// A color is the parameter of the escape sequence that sets it.
type color string

const (
	red    color = "31"
	green  color = "32"
	yellow color = "33"
)

// paint colours a text for a terminal, unless NO_COLOR is set, to whatever: see https://no-color.org. What has no colour, and
// what goes elsewhere, stays as it is.
func paint(out io.Writer, c color, text string) string {
	if c == "" || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(out) {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

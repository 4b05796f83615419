package main

import (
	"io"
	"os"
)

// What is said with colours is said with words, too.
const (
	bold   = "1"
	red    = "31"
	yellow = "33"
)

// A painter gives a text a colour, or leaves it as it is.
type painter func(colour, text string) string

// painterFor paints what is for a terminal that shows colours, if nobody has asked for none: see no-color.org.
func painterFor(w io.Writer) painter {
	if !isTerminal(w) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return func(_, text string) string { return text }
	}
	return func(colour, text string) string { return "\x1b[" + colour + "m" + text + "\x1b[0m" }
}

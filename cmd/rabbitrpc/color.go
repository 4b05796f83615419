package main

import (
	"io"
	"os"
)

// A color is the parameter of the escape sequence that sets it. What is said with colors is said with words, too.
type color string

const (
	bold   color = "1"
	red    color = "31"
	green  color = "32"
	yellow color = "33"
)

// A painter gives a text a color, or leaves it as it is.
type painter func(c color, text string) string

// painterFor paints what is for a terminal, unless NO_COLOR is set, to whatever: see https://no-color.org.
func painterFor(out io.Writer) painter {
	if !isTerminal(out) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return func(_ color, text string) string { return text }
	}
	return func(c color, text string) string {
		if c == "" {
			return text
		}
		return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
	}
}

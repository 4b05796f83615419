package main

import (
	"bytes"
	"os"
	"testing"
)

func TestColoursAreForTerminals(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal to be had: %v", err)
	}
	defer terminal.Close()
	const plain, coloured = "ok", "\x1b[32mok\x1b[0m"
	for _, tt := range []struct{ name, noColor, term, want string }{
		{"terminal", "", "xterm", coloured},
		{"NO_COLOR", "1", "xterm", plain},
		{"terminal that knows none", "", "dumb", plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tt.noColor)
			t.Setenv("TERM", tt.term)
			if got := painterFor(terminal)(green, "ok"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if got := painterFor(new(bytes.Buffer))(green, "ok"); got != plain {
				t.Errorf("elsewhere: got %q, want %q", got, plain)
			}
		})
	}
}

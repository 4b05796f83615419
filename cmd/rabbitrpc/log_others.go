package main

import (
	stdlog "log"
	"log/slog"
	"strings"
)

// takeOver has what others say on the standard logger said by log. That is net/http: a server behind the kind http has sent more
// than an answer.
func takeOver(log *slog.Logger) {
	stdlog.SetFlags(0)
	stdlog.SetOutput(others{log})
}

type others struct{ log *slog.Logger }

// Write logs a line, but for what somebody has sent, which net/http quotes.
func (o others) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(string(line)), " starting with ")
	o.log.Warn(text)
	return len(line), nil
}

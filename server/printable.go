package server

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A printableHandler escapes, in each record, what a terminal would act on. Strangers choose call IDs, and errors and panics
// of handlers may quote them: none may move a cursor, or pass for a line of the log, whatever handler writes it.
type printableHandler struct{ slog.Handler }

func (h printableHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" { // of this program, with a line for each call
			a.Value = printableValue(a.Value.Resolve())
		}
		clean.AddAttrs(a)
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

func (h printableHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return printableHandler{h.Handler.WithAttrs(attrs)}
}

func (h printableHandler) WithGroup(name string) slog.Handler {
	return printableHandler{h.Handler.WithGroup(name)}
}

func printableValue(v slog.Value) slog.Value {
	text := ""
	switch v.Kind() {
	case slog.KindGroup:
		var clean []slog.Attr
		for _, a := range v.Group() {
			clean = append(clean, slog.Attr{Key: printable(a.Key), Value: printableValue(a.Value.Resolve())})
		}
		return slog.GroupValue(clean...)
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		text = fmt.Sprintf("%+v", v.Any())
	}
	if p := printable(text); p != text {
		return slog.StringValue(p)
	}
	return v
}

// printable returns s with what cannot be printed escaped as in Go's strings.
func printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

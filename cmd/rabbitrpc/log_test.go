package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
)

// TestLogEscapes: a value from the other side must not act on a terminal, or pass for a line of ours.
func TestLogEscapes(t *testing.T) {
	const nasty = "a\nb\r\x1b[2J\x00\x7f\u009b31m\u202e\u2028\tc"
	for _, tt := range []struct {
		name      string
		forPeople bool
	}{{"JSON", false}, {"console", true}} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			core := zapcore.NewCore(newEncoder(tt.forPeople), zapcore.AddSync(lineWriter{&out}), zapcore.DebugLevel)
			slog.New(zapslog.NewHandler(core)).Info("message "+nasty, "value", nasty, "err", errors.New(nasty))
			line, ok := strings.CutSuffix(out.String(), "\n")
			if !ok {
				t.Errorf("no newline at the end of %q", line)
			}
			for _, r := range line {
				if !unicode.IsPrint(r) {
					t.Errorf("%U in %q", r, line)
				}
			}
			if tt.forPeople {
				return
			}
			var got struct{ Msg, Value, Err string }
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			if got.Value != nasty || got.Err != nasty || got.Msg != "message "+nasty {
				t.Errorf("got %q, want the values as they were", got)
			}
		})
	}
}

func TestLogLevels(t *testing.T) {
	for level, want := range map[string]string{"debug": "diwe", "info": "iwe", "warn": "we", "error": "e", "off": ""} {
		var out strings.Builder
		log, err := newLogger(&out, level)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("d")
		log.Info("i")
		log.Warn("w")
		log.Error("e")
		got := ""
		for line := range strings.Lines(out.String()) {
			var entry struct{ Msg, Stacktrace string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatal(err)
			}
			if entry.Stacktrace != "" {
				t.Errorf("%s: got a stack trace", level)
			}
			got += entry.Msg
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", level, got, want)
		}
	}
	for _, level := range []string{"", "loud", "fatal", "INFO\n"} {
		if _, err := newLogger(&strings.Builder{}, level); err == nil {
			t.Errorf("level %q was taken", level)
		}
	}
}

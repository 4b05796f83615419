package main

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/telemetry/tracing"
)

const logOff = config.LogOff

func logFlag(cmd *cobra.Command, level *string, normal string) {
	cmd.Flags().StringVar(level, "log-level", normal, "what to log on stderr: debug, info, warn, error or off")
}

// newLogger makes a logger that writes to w: for people if that is a terminal, else as JSON.
func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	least, err := parseLevel(level)
	if err != nil {
		return nil, err
	}
	return loggerAt(w, zap.NewAtomicLevelAt(least), isTerminal(w)), nil
}

// loggerAt makes a logger whose level can change. Lines about a call have the call's ID and its trace, if it is in their
// context; lines that say the same are bounded.
func loggerAt(w io.Writer, level zap.AtomicLevel, forPeople bool) *slog.Logger {
	core := zapcore.NewCore(newEncoder(forPeople), zapcore.Lock(lineWriter{w}), level)
	noStack := zapslog.AddStacktraceAt(math.MaxInt) // of where the log line is: of no use to an operator
	return slog.New(tracing.LogHandler(zapslog.NewHandler(sampled(core), noStack)))
}

// spooledLogger is loggerAt for a daemon, which does not wait for its log to be read: see [spool]. What it returns with it is to be
// called in the end.
func spooledLogger(w io.Writer, level zap.AtomicLevel, forPeople bool) (_ *slog.Logger, written func()) {
	s := newSpool(w, loggerAt(w, level, forPeople))
	return loggerAt(s, level, forPeople), s.close
}

func parseLevel(level string) (zapcore.Level, error) {
	if level == logOff {
		return zapcore.InvalidLevel, nil // which is over all others
	}
	var least zapcore.Level
	if err := least.UnmarshalText([]byte(level)); err != nil || least > zapcore.ErrorLevel || level == "" {
		return 0, fmt.Errorf("log level must be debug, info, warn, error or off, got %q", level)
	}
	return least, nil
}

func newEncoder(forPeople bool) zapcore.Encoder {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.ISO8601TimeEncoder
	config.EncodeDuration = zapcore.StringDurationEncoder
	if !forPeople {
		return zapcore.NewJSONEncoder(config)
	}
	config.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	config.EncodeLevel = zapcore.CapitalLevelEncoder
	config.ConsoleSeparator = "  "
	return zapcore.NewConsoleEncoder(config)
}

// A lineWriter writes one log line with each Write. The encoders escape less than a terminal acts on, and the one for
// people does not escape messages at all.
type lineWriter struct{ w io.Writer }

func (l lineWriter) Write(line []byte) (int, error) {
	text := printable(strings.TrimSuffix(string(line), "\n"), "")
	if _, err := io.WriteString(l.w, text+"\n"); err != nil {
		return 0, err
	}
	return len(line), nil
}

func (lineWriter) Sync() error { return nil } // nothing is buffered

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

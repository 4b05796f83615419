package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	maxSpooled   = 1024        // lines
	spoolTimeout = time.Second // at the end, for those that are left
)

// A spool writes what it gets on a goroutine of its own, a line with each Write: a daemon does not wait for who reads its log. When
// nobody does, more lines than a spool keeps are left out.
type spool struct {
	w     io.Writer
	lines chan spooled
	lost  atomic.Int64
	log   *slog.Logger // to w, for how many were
}

// spooled is a line, or the end.
type spooled struct {
	line []byte
	end  chan struct{}
}

func newSpool(w io.Writer, log *slog.Logger) *spool {
	s := &spool{w: w, lines: make(chan spooled, maxSpooled), log: log}
	go s.run()
	return s
}

func (s *spool) Write(line []byte) (int, error) {
	select {
	case s.lines <- spooled{line: bytes.Clone(line)}:
	default:
		s.lost.Add(1)
	}
	return len(line), nil
}

func (s *spool) run() {
	for next := range s.lines {
		if next.end != nil {
			close(next.end)
			return
		}
		_, _ = s.w.Write(next.line) // there is nowhere else to say it
		if n := s.lost.Swap(0); n > 0 {
			s.log.Warn("log lines were left out: nobody took them", "lines", n)
		}
	}
}

// close waits until all is written, for a moment.
func (s *spool) close() {
	end := make(chan struct{})
	limit := time.NewTimer(spoolTimeout)
	defer limit.Stop()
	select {
	case s.lines <- spooled{end: end}:
	case <-limit.C:
		return
	}
	select {
	case <-end:
	case <-limit.C:
	}
}

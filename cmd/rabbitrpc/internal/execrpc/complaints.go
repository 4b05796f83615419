package execrpc

import (
	"bytes"
	"log/slog"
	"time"
)

const (
	maxComplaint  = 1 << 10 // bytes of a line in the log
	maxComplaints = 20      // lines in a second
)

// A complaints logs what a worker writes to standard error, as far as a log can take it.
type complaints struct {
	log    *slog.Logger
	begun  []byte
	since  time.Time // the second that is counted
	logged int       // lines in it
	missed int       // of these, those that are not in the log
}

func (c *complaints) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		c.begun = append(c.begun, line[:min(len(line), maxComplaint-len(c.begun))]...)
		if whole {
			c.say(c.begun)
			c.begun = c.begun[:0]
		}
	}
	return len(p), nil
}

func (c *complaints) say(line []byte) {
	if now := time.Now(); now.Sub(c.since) >= time.Second {
		if c.missed > 0 {
			c.log.Warn("worker said more than fits the log", "lines", c.missed)
		}
		c.since, c.logged, c.missed = now, 0, 0
	}
	if c.logged++; c.logged > maxComplaints {
		c.missed++
		return
	}
	c.log.Info("worker said", "stderr", string(line))
}

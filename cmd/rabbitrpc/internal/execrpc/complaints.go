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
	last   string    // of those
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
		c.sum()
		c.since, c.logged = now, 0
	}
	if c.logged++; c.logged > maxComplaints {
		c.missed, c.last = c.missed+1, string(line)
		return
	}
	c.log.Info("worker said", "stderr", string(line))
}

// sum says how many lines are not in the log, and the last of them.
func (c *complaints) sum() {
	if c.missed > 0 {
		c.log.Warn("worker said more than fits the log", "lines", c.missed, "last", c.last)
		c.missed = 0
	}
}

// end logs what is left when the worker has ended: its last line is where it says why.
func (c *complaints) end() {
	if len(c.begun) > 0 {
		c.say(c.begun)
	}
	c.sum()
}

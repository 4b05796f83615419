// Package testlog is a log for tests to look at.
package testlog

import (
	"strings"
	"sync"
)

// A Log keeps what is written to it. It may be written and read at the same time.
type Log struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

// Write never fails.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

package conn

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// While it gathers, what comes is read less often. Before and after that nothing waits, and what is written never does.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &end{reads: always('x')}
		l := newLine(e)
		s := &session{done: make(chan struct{}), pub: &link{line: l}, sub: &link{}} // the other without a data plane
		for _, step := range []struct {
			name   string
			gather time.Duration // each read
		}{
			{"before", 0},
			{"gathers", 3 * time.Millisecond},
			{"after", 0},
		} {
			s.Gather(step.gather, time.Now().Add(3*step.gather))
			e.writes = 0
			send(l, 5, "body")
			if e.writes != 1 {
				t.Errorf("%s: not written at once", step.name)
			}
			start := time.Now()
			l.reader.fill(1)
			if took := time.Since(start); took != step.gather {
				t.Errorf("%s: a read took %v, want %v", step.name, took, step.gather)
			}
			l.reader.fill(len(l.reader.buf)) // the rest of a frame does not wait
			if took := time.Since(start); took != step.gather {
				t.Errorf("%s: the rest took %v", step.name, took-step.gather)
			}
			l.reader.first = l.reader.last
			time.Sleep(10 * time.Millisecond)
			start = time.Now()
			if l.reader.fill(1); time.Since(start) != 0 {
				t.Errorf("%s: a read still waits after the end", step.name)
			}
			l.reader.first = l.reader.last
		}
	})
}

// always reads as the same bytes, without an end.
func always(b byte) io.Reader { return reading(b) }

type reading byte

func (r reading) Read(b []byte) (int, error) {
	for i := range b[:(len(b)+1)/2] {
		b[i] = byte(r)
	}
	return (len(b) + 1) / 2, nil
}

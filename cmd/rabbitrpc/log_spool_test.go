package main

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// Who logs waits for nobody. What was left out is counted.
func TestSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		log, written := spooledLogger(w, zap.NewAtomicLevel(), false)
		const lines = 3000
		for i := range lines {
			log.Info("line " + strconv.Itoa(i)) // the same text would be sampled
		}
		var got []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for in := bufio.NewScanner(r); in.Scan(); {
				got = append(got, in.Text())
			}
		}()
		synctest.Wait()
		log.Info("the last one")
		written()
		w.Close()
		<-done
		kept := 0
		for _, line := range got {
			if strings.Contains(line, `"line `) {
				kept++
			}
		}
		said := `"log lines were left out: nobody took them","lines":` + strconv.Itoa(lines-kept)
		if all := strings.Join(got, "\n"); kept < maxSpooled || kept > maxSpooled+2 || !strings.Contains(all, said) || !strings.Contains(got[len(got)-1], "the last one") {
			t.Errorf("%d lines of %d, then %q, want %s", kept, lines, got[kept:], said)
		}
	})
}

// A log that nobody reads does not keep a process.
func TestSpoolEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		log, written := spooledLogger(w, zap.NewAtomicLevel(), false)
		for i := range 2 * maxSpooled {
			log.Info("line " + strconv.Itoa(i))
		}
		start := time.Now()
		written()
		if took := time.Since(start); took != spoolTimeout {
			t.Errorf("it took %v", took)
		}
		go io.Copy(io.Discard, r)
		written()
		w.Close()
	})
}

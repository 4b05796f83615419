package demo

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	var r report
	r.add("quiet", tally{calls: 10, ok: 10, slowest: 3 * time.Millisecond}, 1)
	if err := r.err(); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	cause := errors.New("gone")
	r.add("loud", tally{calls: 5, ok: 4, replayed: 2, slowest: time.Second, failure: cause}, 8)
	var out strings.Builder
	r.write(&out)
	const want = `
  calls  ok  re-sent  replayed  failed  slowest
     10  10        1         0       0      3ms  quiet
      5   4        7         2       1       1s  loud
     15  14        8         2       1       1s  total

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if err := r.err(); !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "1 of 15 calls failed") {
		t.Errorf("got %v, want that 1 of 15 failed, and why", err)
	}
}

package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// What an outage, or a start, may be worth. On an idle machine it is 800 bytes, and one line that says the same for each service.
const (
	outageBytes = 8 << 10
	outageLines = 20
)

// judgeLog bounds a log, and how often it says the same.
func judgeLog(t *testing.T, log string, took time.Duration, outages int) {
	t.Helper()
	times := make(map[string]int)
	for line := range strings.Lines(log) {
		var l struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			l.Msg = line // the one that it serves
		}
		times[l.Level+" "+l.Msg]++
	}
	for _, msg := range slices.Sorted(maps.Keys(times)) {
		t.Logf("%6d times %s", times[msg], msg)
		if times[msg] > outageLines*(outages+1) {
			t.Errorf("the log says %d times %q", times[msg], msg)
		}
	}
	t.Logf("%d bytes of log, %.0f KiB an hour", len(log), float64(len(log))/1024/took.Hours())
	if most := outageBytes * (outages + 1); len(log) > most {
		t.Errorf("%d bytes of log for %d outages, want at most %d", len(log), outages, most)
	}
}

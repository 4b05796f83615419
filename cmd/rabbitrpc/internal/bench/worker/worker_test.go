package worker

import (
	"reflect"
	"testing"
	"time"
)

func TestParseSide(t *testing.T) {
	for text, want := range map[string]Side{
		"raw":          {Name: "raw", Kind: Raw},
		"raw-safe":     {Name: "raw-safe", Kind: RawSafe},
		"self:A=1,B=x": {Name: "A=1,B=x", Kind: Own, Env: []string{"A=1", "B=x"}},
		"self:A=":      {Name: "A=", Kind: Own, Env: []string{"A="}},
	} {
		if got, err := ParseSide(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "raws", "raw:A=1", "self", "self:", "self:A", "self:=1"} {
		if got, err := ParseSide(text); err == nil {
			t.Errorf("%s: got %+v, want an error", text, got)
		}
	}
}

func TestWorkers(t *testing.T) {
	for _, tt := range []struct {
		cell Cell
		want int
	}{
		{Cell{Mode: Direct, Callers: 256}, 512},
		{Cell{Mode: Direct, Callers: 1}, minWorkers},
		{Cell{Mode: Queued, Callers: 256}, 128},
		{Cell{Mode: Queued, Callers: 1}, 1},
		{Cell{Mode: Direct, Callers: 100_000}, maxWorkers},
	} {
		if got := tt.cell.Workers(); got != tt.want {
			t.Errorf("%s: %d workers, want %d", tt.cell, got, tt.want)
		}
	}
}

func TestUsage(t *testing.T) {
	before := ownUsage()
	var used Usage
	var kept [][]byte
	for end := time.Now().Add(10 * time.Second); used.CPU < 5*time.Millisecond && time.Now().Before(end); { // others use the processors, too
		kept = append(kept[:0], make([]byte, 100_000))
		used = ownUsage().Since(before)
	}
	if used.CPU < 5*time.Millisecond || used.Allocs == 0 || used.Bytes < 100_000 {
		t.Errorf("got %+v after some work with %d buffers", used, len(kept))
	}
}

package bench

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
)

func TestCells(t *testing.T) {
	c := Config{Modes: []string{worker.Direct, worker.Durable}, Sizes: []int{16, 4096}, Callers: []int{1, 2}}
	cells := c.cells()
	if len(cells) != 8 || cells[1] != (worker.Cell{Mode: worker.Direct, Callers: 2, Size: 16}) || cells[7] != (worker.Cell{Mode: worker.Durable, Callers: 2, Size: 4096}) {
		t.Errorf("got %v, want all 8 combinations, those of one mode and size together", cells)
	}
}

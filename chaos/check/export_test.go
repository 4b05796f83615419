package check

import (
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// MaxPart is how many operations may overlap one another.
const MaxPart = maxPart

// RegistersWithin is I15 with another time limit.
func RegistersWithin(limit time.Duration, h *history.History) Verdict {
	var r ruling
	checkRegistersWithin(limit, newIndex(h), &r)
	return r.verdict(Invariant{ID: "I15"})
}

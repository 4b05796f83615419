// Package check holds the invariants of a chaos run, I1 to I20: small functions over its history. What each says is in
// docs/failures.md.
package check

import "github.com/rabbitrpc/rabbitrpc/chaos/history"

// A Verdict is what an invariant says of a run.
type Verdict struct {
	Invariant string   `json:"invariant"` // such as "I1"
	Title     string   `json:"title"`
	Result    Result   `json:"result"`
	Detail    string   `json:"detail"`             // what was looked at, with numbers
	Evidence  []string `json:"evidence,omitempty"` // of what is broken: the first few
}

// A Result is what an invariant may come to.
type Result string

// The results. A run in which a fault had no effect is inconclusive, and that is a failure.
const (
	Holds        Result = "holds"
	Broken       Result = "broken"
	Inconclusive Result = "inconclusive"
	NotChecked   Result = "not checked" // there was nothing to look at
)

// An Invariant is a rule that each run must keep.
type Invariant struct {
	ID    string
	Title string
	check func(*history.History, *Verdict)
}

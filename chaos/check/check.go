// Package check holds the invariants of a chaos run, [Invariants]: small functions over its history. What each says and looks
// at is also in docs/failures.md.
//
// A verdict is one of four. An invariant holds, or is broken. It is inconclusive if what would tell is missing, or a fault
// had no effect: that is a failure too, since the run has shown nothing. It is not checked if there was nothing to look at.
//
// # What is certain
//
// Broken means that no run of a correct system has this history, as far as the history is true. Where a correct system may
// do the same, nothing is broken:
//
//   - What the servers' memory does not promise is counted, not judged. With [history.AtLeastOnce] these are the effects
//     beyond the first of a call (I5), replies of one call that differ (I7), and calls with a taken ID that ran (I16).
//   - A call that is ambiguous or lost may have had its effect, may still have it, or never.
//   - A handler's own refusal, failed with failed_precondition, had no effect, and is an answer that a memory keeps. What failed in any
//     other way may have had one.
//
// # Cost
//
// Time and memory grow with the history, but for I15: whether operations at the same time have an order is hard to tell. It is
// bounded by a time limit, and by the number of operations on one key of which each overlaps the next.
package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rabbitrpc/rabbitrpc/chaos/history"
)

// A Verdict is what an invariant says of a run.
type Verdict struct {
	Invariant string   `json:"invariant"` // such as "I1"
	Title     string   `json:"title"`
	Result    Result   `json:"result"`
	Detail    string   `json:"detail"`             // what was looked at, with numbers
	Evidence  []string `json:"evidence,omitempty"` // of what is broken or not known: the first few
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
	check func(*index, *ruling)
}

// Invariants are all that a run is checked for, in order. The last is only for runs that ask for it.
var Invariants = []Invariant{
	{"I1", "Money is neither made nor lost", checkMoney},
	{"I2", "The effect of each ok call is there", checkEffects},
	{"I3", "Each effect was called for", checkCalledFor},
	{"I4", "A rejected call has no effect", checkRejected},
	{"I5", "No call has two effects", checkTwice},
	{"I6", "A reply belongs to its call", checkReplies},
	{"I7", "All replies of one call are the same", checkSame},
	{"I8", "Each call ends by its deadline", checkDeadlines},
	{"I9", "Calls are ok again soon after a fault", checkRecovery},
	{"I10", "Nothing is left behind", checkLeaks},
	{"I11", "Memory is bounded", checkMemory},
	{"I12", "Queues hold what they must", checkQueues},
	{"I13", "Reconnects are bounded and spread", checkDials},
	{"I14", "Retries do not amplify an outage", checkAmplification},
	{"I15", "Registers are linearizable", checkRegisters},
	{"I16", "A taken call ID never runs another payload", checkMisuse},
	{"I17", "No caller gets another's stored reply", checkOthers},
	{"I18", "No secret in logs and errors", checkSecrets},
	{"I19", "No unknown delivery tag, panic or data race", checkFindings},
	{"I20", "Each fault had an effect", checkBites},
	{"I21", "No call fails", checkFailures},
}

// All checks all invariants, and returns a verdict for each, in order. It does not change the history.
func All(h *history.History) []Verdict {
	x := newIndex(h)
	all := make([]Verdict, len(Invariants))
	for i, inv := range Invariants {
		var r ruling
		inv.check(x, &r)
		all[i] = r.verdict(inv)
	}
	return all
}

// Sound returns nil if the run has shown what it was made for: something holds, and nothing is broken or inconclusive. Else
// the error names what is.
func Sound(v []Verdict) error {
	named := make(map[Result][]string)
	for _, one := range v {
		named[one.Result] = append(named[one.Result], one.Invariant)
	}
	var wrong []string
	for _, r := range [...]Result{Broken, Inconclusive} {
		if len(named[r]) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %s", r, strings.Join(named[r], ", ")))
		}
	}
	switch {
	case len(wrong) > 0:
		return errors.New(strings.Join(wrong, "; "))
	case len(named[Holds]) == 0:
		return errors.New("nothing was checked")
	}
	return nil
}

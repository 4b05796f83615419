package rpc

import (
	"errors"
	"fmt"
)

// Execution says whether the effect of a call may have happened.
type Execution uint8

const (
	// ExecutedUnknown: it may have happened, or may still happen.
	ExecutedUnknown Execution = iota
	// ExecutedNo: it did not happen, and will not through this attempt.
	ExecutedNo
	// ExecutedYes: the handler ran to its end.
	ExecutedYes
)

// Executed says whether the effect of the call that returned err may have
// happened: yes if err is nil, what the first [Error] in the chain of err says if
// there is one, else unknown.
func Executed(err error) Execution {
	if err == nil {
		return ExecutedYes
	}
	if e, ok := errors.AsType[*Error](err); ok && e != nil {
		return e.Executed
	}
	return ExecutedUnknown
}

// String returns "unknown", "no" or "yes", as on the wire.
func (x Execution) String() string {
	switch x {
	case ExecutedUnknown:
		return "unknown"
	case ExecutedNo:
		return "no"
	case ExecutedYes:
		return "yes"
	}
	return fmt.Sprintf("execution_%d", uint8(x))
}

// ParseExecution returns the value that [Execution.String] writes as s. If there
// is none it returns ExecutedUnknown and false.
func ParseExecution(s string) (Execution, bool) {
	for x := ExecutedUnknown; x <= ExecutedYes; x++ {
		if s == x.String() {
			return x, true
		}
	}
	return ExecutedUnknown, false
}

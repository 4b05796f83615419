package rpc

import "fmt"

// Code says what kind of failure an error is. Programs decide by the code, people
// read the message. The codes and their numbers are the canonical ones of gRPC.
type Code uint8

const (
	// OK is the code of a nil error, never of an error.
	OK Code = 0
	// Canceled: the caller gave up.
	Canceled Code = 1
	// Unknown: an error without a code of its own.
	Unknown Code = 2
	// InvalidArgument: the request is wrong whatever the state of the system.
	InvalidArgument Code = 3
	// DeadlineExceeded: the time of the call was over first.
	DeadlineExceeded Code = 4
	// NotFound: something that the request names does not exist.
	NotFound Code = 5
	// AlreadyExists: something that the request was to create exists.
	AlreadyExists Code = 6
	// PermissionDenied: the caller is known and may not do this.
	PermissionDenied Code = 7
	// ResourceExhausted: a limit was reached: a quota, a queue, memory.
	ResourceExhausted Code = 8
	// FailedPrecondition: the state of the system must be changed first.
	FailedPrecondition Code = 9
	// Aborted: lost against a concurrent operation.
	Aborted Code = 10
	// OutOfRange: past the end of what is valid in the present state.
	OutOfRange Code = 11
	// Unimplemented: the method, or something that it needs, is not supported.
	Unimplemented Code = 12
	// Internal: an invariant is broken, a bug.
	Internal Code = 13
	// Unavailable: nobody can serve the call now.
	Unavailable Code = 14
	// DataLoss: data is lost or corrupt beyond repair.
	DataLoss Code = 15
	// Unauthenticated: the caller did not prove who it is.
	Unauthenticated Code = 16
)

var codeNames = [...]string{
	OK:                 "ok",
	Canceled:           "canceled",
	Unknown:            "unknown",
	InvalidArgument:    "invalid_argument",
	DeadlineExceeded:   "deadline_exceeded",
	NotFound:           "not_found",
	AlreadyExists:      "already_exists",
	PermissionDenied:   "permission_denied",
	ResourceExhausted:  "resource_exhausted",
	FailedPrecondition: "failed_precondition",
	Aborted:            "aborted",
	OutOfRange:         "out_of_range",
	Unimplemented:      "unimplemented",
	Internal:           "internal",
	Unavailable:        "unavailable",
	DataLoss:           "data_loss",
	Unauthenticated:    "unauthenticated",
}

// String returns the name of the code as on the wire, such as
// "invalid_argument"; "code_17" for a number that is no code.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// ParseCode returns the code with the given name, exactly as [Code.String] writes
// it. If there is none it returns Unknown and false.
func ParseCode(name string) (Code, bool) {
	for c, n := range codeNames {
		if n == name {
			return Code(c), true
		}
	}
	return Unknown, false
}

// MarshalText returns the name of the code. A number that is no code is an error.
func (c Code) MarshalText() ([]byte, error) {
	if int(c) >= len(codeNames) {
		return nil, fmt.Errorf("rpc: %d is not a code", uint8(c))
	}
	return []byte(codeNames[c]), nil
}

// UnmarshalText sets the code to the one with the given name. If there is none it
// leaves the code as it is and returns an error.
func (c *Code) UnmarshalText(name []byte) error {
	code, ok := ParseCode(string(name))
	if !ok {
		return fmt.Errorf("rpc: %.40q is not a code", name)
	}
	*c = code
	return nil
}

// Retryable says whether the same call may succeed if it is only made again, a
// little later:
//
//   - Unavailable: a server may be there by then.
//   - ResourceExhausted: load was shed, and load passes. The error's RetryAfter
//     says when.
//   - Aborted: the conflict was with another operation, which is over by then.
//
// All others would fail again (InvalidArgument, NotFound, Internal...) or leave no
// time to try (DeadlineExceeded, Canceled). Unknown is not retryable because
// nothing says that it is.
//
// Retryable does not say that a retry is harmless; that depends on [Executed]:
// after ExecutedNo it is; after ExecutedUnknown only under the same call ID, at a
// server that deduplicates; after ExecutedYes only as a new call, because the old
// call ID gives the recorded answer again.
func (c Code) Retryable() bool {
	return c == Unavailable || c == ResourceExhausted || c == Aborted
}

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Error is a failed call. It is the one kind of error that crosses the wire: all
// its exported fields do, except Remote.
type Error struct {
	// Code is never OK.
	Code Code

	// Message is for people. The other side reads it: put nothing in it that the
	// other side must not know.
	Message string

	// Details is for programs: any JSON value, or nil.
	Details json.RawMessage

	// RetryAfter is how long to wait before a retry, at least. 0 leaves it to the
	// caller.
	RetryAfter time.Duration

	// Executed says whether the effect of the call may have happened.
	Executed Execution

	// Remote says that the error was received from the other side: a handler that
	// got it from another server must not pass it on as its own verdict.
	Remote bool

	cause error
}

// ErrNoAnswer is in the chain of the errors that a client makes itself, because it
// got no answer from a server. If a handler returns such an error, or a remote one,
// its server does not pass it on as the handler's own.
var ErrNoAnswer = errors.New("no answer")

// ErrInDoubt is in the chain of a handler's error if the handler does not know whether what it was for has happened: it
// passed the call on, to a program or another server, and that ended without an answer. Servers answer such an error with
// ExecutedUnknown. If its code is retryable it is not recorded, so that the same call, under its ID, runs again.
var ErrInDoubt = errors.New("outcome in doubt")

// Errorf returns an error with the given code, and a message formatted like
// [fmt.Errorf]. A code that is OK or no code at all becomes Unknown.
//
// Operands of %w are causes: [errors.Is] and [errors.As] find them in this process
// only. The text of each operand is part of the message, and that does cross the
// wire; to keep a cause without its text use [Error.WithCause].
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: legal(code), Message: err.Error()}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		e.cause = w.Unwrap()
	case interface{ Unwrap() []error }:
		e.cause = err
	}
	return e
}

// Error returns the code and the message, "unavailable: no server for math".
func (e *Error) Error() string {
	if e.Message == "" {
		return legal(e.Code).String()
	}
	return legal(e.Code).String() + ": " + e.Message
}

// Unwrap returns the cause, or nil. It never crosses the wire.
func (e *Error) Unwrap() error { return e.cause }

// WithCause returns a copy of the error with another cause; nil removes it. The
// text of the cause is not part of the message.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// WithDetails returns a copy of the error with v, as JSON, for its details; nil
// removes them. If v has no JSON form the details are a JSON string that says so,
// because an error on the way to the caller is worth more than its details.
func (e *Error) WithDetails(v any) *Error {
	c := *e
	c.Details = nil
	if v == nil {
		return &c
	}
	details, err := json.Marshal(v)
	if err != nil {
		details = fmt.Appendf(nil, "%q", fmt.Sprintf("details lost: %T has no JSON form", v))
	}
	c.Details = details
	return &c
}

// WithRetryAfter returns a copy of the error that asks the caller to wait at least
// d before a retry. A negative d is 0.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = max(d, 0)
	return &c
}

// WithExecuted returns a copy of the error that says whether the effect of the
// call may have happened. A handler that says ExecutedNo promises that it had no
// effect: the call is then not recorded, and may run again under its call ID.
func (e *Error) WithExecuted(x Execution) *Error {
	c := *e
	c.Executed = x
	return &c
}

// CodeOf returns the code of err: OK for nil, the code of the first [Error] in its
// chain, DeadlineExceeded and Canceled for the errors of a context, and Unknown
// for all others. It is OK for nil only.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if e == nil { // a nil pointer returned as an error: a bug, no reason to panic
			return Unknown
		}
		return legal(e.Code)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Unknown
}

// legal returns the code, or Unknown if an error cannot have it: an error with the
// code OK would pass for success.
func legal(code Code) Code {
	if code == OK || int(code) >= len(codeNames) {
		return Unknown
	}
	return code
}

package execrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// exitCodes are the exit codes of sysexits.h, by which a program says why it could not do what it was asked for. Only with
// one of these is the first line of its standard error for the caller.
var exitCodes = map[int]rpc.Code{
	64: rpc.InvalidArgument,    // EX_USAGE
	65: rpc.InvalidArgument,    // EX_DATAERR
	66: rpc.NotFound,           // EX_NOINPUT
	67: rpc.NotFound,           // EX_NOUSER
	68: rpc.NotFound,           // EX_NOHOST
	69: rpc.Unavailable,        // EX_UNAVAILABLE
	70: rpc.Internal,           // EX_SOFTWARE
	71: rpc.Internal,           // EX_OSERR
	72: rpc.Internal,           // EX_OSFILE
	73: rpc.Internal,           // EX_CANTCREAT
	74: rpc.Internal,           // EX_IOERR
	75: rpc.Unavailable,        // EX_TEMPFAIL
	76: rpc.Internal,           // EX_PROTOCOL
	77: rpc.PermissionDenied,   // EX_NOPERM
	78: rpc.FailedPrecondition, // EX_CONFIG
}

const exitTempFail = 75 // nothing was done, and the user is invited to try again

// ofExit is the error of a program that ended with this exit code: an error object in the last line of its standard error,
// else what the code says. Deliberate is false if neither is there: then the program is broken, as far as one can tell.
func ofExit(code int, stderr *said) (e *rpc.Error, deliberate bool) {
	if e := ofLastLine(stderr.tail); e != nil {
		return e, true
	}
	c, deliberate := exitCodes[code]
	if !deliberate {
		return rpc.Errorf(rpc.Unknown, "program ended with exit code %d", code), false
	}
	e = rpc.Errorf(c, "%s", firstLine(stderr.head))
	if e.Message == "" {
		e.Message = fmt.Sprintf("program ended with exit code %d", code)
	}
	if code == exitTempFail {
		e = e.WithExecuted(rpc.ExecutedNo)
	}
	return e, true
}

const maxMessage = 1 << 10 // of the protocol

// firstLine is what a program says first, in printable characters.
func firstLine(stderr []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(stderr)), "\n")
	line = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, line[:min(len(line), maxMessage)])
	return strings.TrimSpace(line)
}

// A fault is an error as programs write it.
type fault struct {
	Code         rpc.Code        `json:"code"`
	Message      string          `json:"message"`
	Details      json.RawMessage `json:"details"`
	RetryAfterMS int64           `json:"retry_after_ms"`
	Executed     string          `json:"executed"`
}

func (f *fault) error() *rpc.Error {
	e := rpc.Errorf(f.Code, "%s", f.Message).WithRetryAfter(time.Duration(min(max(f.RetryAfterMS, 0), maxRetryAfter)) * time.Millisecond)
	if len(f.Details) > 0 {
		e.Details = f.Details
	}
	switch executed, ok := rpc.ParseExecution(f.Executed); {
	case ok && executed == rpc.ExecutedUnknown:
		return e.WithCause(rpc.ErrInDoubt)
	case ok:
		return e.WithExecuted(executed)
	}
	return e
}

const maxRetryAfter = 24 * 60 * 60 * 1000

// ofLastLine is the error in the last line of standard error, or nil.
func ofLastLine(stderr []byte) *rpc.Error {
	stderr = bytes.TrimSpace(stderr)
	line := stderr[bytes.LastIndexByte(stderr, '\n')+1:]
	var f fault
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &f) != nil || f.Code == rpc.OK {
		return nil
	}
	return f.error()
}

// inDoubt is the error of a program that did not live to answer.
func inDoubt(code rpc.Code, format string, args ...any) *rpc.Error {
	return rpc.Errorf(code, format, args...).WithCause(rpc.ErrInDoubt)
}

// stopped is the error of a program that was ended because ctx was.
func stopped(cause error) *rpc.Error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return inDoubt(rpc.DeadlineExceeded, "program was out of time")
	}
	return inDoubt(rpc.Unavailable, "server stopped before the program was done")
}

// notStarted is the error of a call whose time was over before a program had it.
func notStarted(cause error) *rpc.Error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return rpc.Errorf(rpc.DeadlineExceeded, "no program was free in time").WithExecuted(rpc.ExecutedNo)
	}
	return rpc.Errorf(rpc.Unavailable, "server stopped before the program was started").WithExecuted(rpc.ExecutedNo)
}

// tooLong has a code that invites nobody: the reply would be as long another time.
func tooLong(limit int) *rpc.Error {
	return inDoubt(rpc.Internal, "program was ended: its reply has more than %d bytes", limit)
}

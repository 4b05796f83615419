package main

import (
	"context"
	"errors"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	exitUsage       = 1
	exitNoBroker    = 2
	exitNoServer    = 3
	exitTimeout     = 4
	exitNoAnswer    = 5
	exitFound       = 6
	exitRemote      = 64 // and the number of the code
	exitInterrupted = 130
)

const exitHelp = `Exit codes:
  0       it worked
  1       usage or configuration is wrong, or the command failed
  2       no connection with the broker, or it was lost on the way
  3       no server serves what was called
  4       no answer before the timeout
  5       no answer for another reason
  6       a check has found a problem
  64 + n  the server answered with the error code n: 64 + 2 unknown,
          3 invalid_argument, 4 deadline_exceeded, 5 not_found, 6 already_exists,
          7 permission_denied, 8 resource_exhausted, 9 failed_precondition,
          10 aborted, 11 out_of_range, 12 unimplemented, 13 internal,
          14 unavailable, 15 data_loss, 16 unauthenticated
  130     stopped by Ctrl-C or SIGTERM before it was done`

// errInterrupted ends what a signal has stopped before it was done.
var errInterrupted = errors.New("interrupted")

// errFound ends a check that has found a problem. It has no text of its own: the problems have been written.
var errFound = errors.New("")

func exitCode(err error) int {
	e, coded := errors.AsType[*rpc.Error](err)
	switch {
	case err == nil:
		return 0
	case coded && e.Remote:
		return exitRemote + int(e.Code)
	case errors.Is(err, errInterrupted), coded && e.Code == rpc.Canceled:
		return exitInterrupted
	case errors.Is(err, errFound):
		return exitFound
	case errors.Is(err, conn.ErrNotConnected), errors.Is(err, conn.ErrClosed) && !errors.Is(err, conn.ErrRefused):
		return exitNoBroker
	case errors.Is(err, client.ErrNoServer), errors.Is(err, errNoInstance):
		return exitNoServer
	case coded && e.Code == rpc.DeadlineExceeded, !coded && errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case coded && e.Code != rpc.InvalidArgument, errors.Is(err, conn.ErrBlocked):
		return exitNoAnswer
	}
	return exitUsage
}

package client

import (
	"errors"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// ErrNoServer is in the chain of an unavailable error when nobody serves what was called.
var ErrNoServer = errors.New("no server")

var (
	errBusy     = errors.New("servers are busy, or one died with the request")
	errCanceled = errors.New("canceled by the caller")
	errClosed   = errors.New("client is closed")
	errFull     = errors.New("queue is full")
	errNoReply  = errors.New("no reply in time")
	errPlain    = errors.New("a plain queue and durable calls do not go together")
	errSilent   = errors.New("servers are there, but nothing comes back of what is sent to them")
	errNotTaken = errors.New("no server took the request in time")
)

func noServer(queue string) error { return fmt.Errorf("%w on queue %s", ErrNoServer, queue) }

// local makes an error of this side, without an answer of a server behind it.
func local(code rpc.Code, executed rpc.Execution, cause error) *rpc.Error {
	return rpc.Errorf(code, "%w", cause).WithCause(errors.Join(rpc.ErrNoAnswer, cause)).WithExecuted(executed)
}

// message is the text of an error without its code, to be said under another.
func message(err error) string {
	var e *rpc.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A refusal is what the broker said when it ended a session for a request that it takes from nobody: one that is too large, or says
// another user than the connection's. To send it again would cost all who share the session another one.
type refusal struct {
	cause error
	at    time.Time
}

// blames reports how the broker has refused a request, or requests like it, if so. Then it has not taken this one for certain.
func (f *refusal) blames(r *rpc.Request) (*rpc.Error, bool) {
	code := wire.RefusedFor(r, f.cause.Error())
	if code == rpc.OK {
		return nil, false
	}
	return local(code, rpc.ExecutedNo, fmt.Errorf("broker refuses the request: %w", f.cause)), true
}

// unwelcome finds out whether a session has ended with err for a request of a call, or one like it.
func (c *Client) unwelcome(call *call, err error) (*rpc.Error, bool) {
	if !errors.Is(err, conn.ErrPrecondition) {
		return nil, false
	}
	f := &refusal{err, time.Now()}
	e, blamed := f.blames(&call.req)
	if blamed {
		c.refusal.Store(f)
	}
	return e, blamed
}

// refusedBefore reports whether a request like this was refused a moment ago.
func (c *Client) refusedBefore(r *rpc.Request) (*rpc.Error, bool) {
	f := c.refusal.Load()
	if f == nil || time.Since(f.at) >= deniedFor {
		return nil, false
	}
	return f.blames(r)
}

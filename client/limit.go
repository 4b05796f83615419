package client

import (
	"context"
	"errors"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// ErrTooManyCalls is in the chain of a resource_exhausted error when as many calls were in flight as may be.
var ErrTooManyCalls = errors.New("too many calls in flight")

// enter takes a place among the calls in flight, or waits for one.
func (c *Client) enter(ctx context.Context, failFast bool) error {
	select {
	case c.places <- struct{}{}:
		return nil
	default:
	}
	if failFast {
		return local(rpc.ResourceExhausted, rpc.ExecutedNo, ErrTooManyCalls)
	}
	select {
	case c.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return local(rpc.Canceled, rpc.ExecutedNo, errCanceled)
		}
		return local(rpc.ResourceExhausted, rpc.ExecutedNo, ErrTooManyCalls)
	case <-c.life.Done():
		return local(rpc.Canceled, rpc.ExecutedNo, errClosed)
	}
}

func (c *Client) leave() { <-c.places }

package client

import (
	"context"

	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Describe asks a server of a service what a method takes and returns. It is a call, which the server answers itself: to a
// server of an older version, or one without that method, it fails with unimplemented.
func Describe(ctx context.Context, c *Client, service, method string, opts ...CallOption) (rpc.Description, error) {
	return Call(ctx, c, rpc.Method[string, rpc.Description]{Service: service, Name: wire.Describe}, method, opts...)
}

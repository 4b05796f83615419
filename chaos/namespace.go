package chaos

import (
	"context"
	"errors"
	"net"
)

// ErrNoNamespace tells that there can be no network namespace, and what to do about it.
var ErrNoNamespace = errors.New("no network namespace: it needs Linux, and the root user or " +
	"`unshare --user --map-root-user` before the command; and ip and nft (apt-get install iproute2 nftables)")

// A dialer connects with an address.
type dialer func(ctx context.Context, addr string) (net.Conn, error)

// dialer returns one whose connections begin in the namespace.
func (ns *namespace) dialer() dialer {
	return func(ctx context.Context, addr string) (c net.Conn, err error) {
		err = ns.do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
			return err
		})
		return c, err
	}
}

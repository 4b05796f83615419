package chaos

import (
	"context"
	"fmt"
	"net"
	"strconv"
)

// startNames starts the name service of the node in a place, and waits until it answers.
func startNames(ctx context.Context, g *guard, env []string, in install, p place) (*process, error) {
	names, err := g.start(g.command(env, in.epmd)) // in the foreground; its settings are in the environment
	if err != nil {
		return nil, fmt.Errorf("start epmd: %w", err)
	}
	err = names.await(ctx, func() error {
		c, err := p.ns.dialer()(ctx, net.JoinHostPort(p.host, strconv.Itoa(p.epmd)))
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return names, fmt.Errorf("start epmd: %w", err)
	}
	return names, nil
}

package chaos

import (
	"context"
	"fmt"
)

// startNames starts the node's name service, and waits until it answers.
func (n *Node) startNames(ctx context.Context, p ports) (err error) {
	cmd := n.guard.command(n.env, n.install.epmd) // in the foreground; its settings are in the environment
	if n.helper, err = n.guard.start(cmd); err != nil {
		return fmt.Errorf("start epmd: %w", err)
	}
	err = n.helper.await(ctx, func() error {
		c, err := dial(ctx, address(p.epmd))
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start epmd: %w", err)
	}
	return nil
}

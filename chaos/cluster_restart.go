package chaos

import (
	"context"
	"fmt"
	"time"
)

// RollingRestart restarts one node after the other, each as an operator does: it waits until no quorum queue depends on the
// node, drains it, stops it and starts it.
func (c *Cluster) RollingRestart(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := n.restartDrained(ctx); err != nil {
			return fmt.Errorf("rolling restart: %w", err)
		}
	}
	return nil
}

func (n *Node) restartDrained(ctx context.Context) error {
	if err := n.awaitQuorumPlusOne(ctx); err != nil {
		return err
	}
	if err := n.Drain(ctx); err != nil {
		return err
	}
	return n.Restart(ctx)
}

// awaitQuorumPlusOne waits until no quorum queue would lose its majority with the node.
func (n *Node) awaitQuorumPlusOne(ctx context.Context) error {
	patience := startTimeout
	if end, ok := ctx.Deadline(); ok {
		patience = time.Until(end)
	}
	return n.eval(ctx, "true = rabbit_upgrade_preparation:await_online_quorum_plus_one(%d)", patience.Milliseconds())
}

package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	viewEvery      = 500 * time.Millisecond // each time takes a third of a second of processor time
	viewTimeout    = 5 * time.Second
	restoreTimeout = 20 * time.Second
)

// Home returns the node where a queue of the default virtual host is, as another node knows: the leader's, if it is a quorum
// queue.
func (c *Cluster) Home(ctx context.Context, queue string, asked *Node) (*Node, error) {
	const where = `{ok, Q} = rabbit_amqqueue:lookup(%s), [case amqqueue:get_pid(Q) of {_, N} -> N; P -> node(P) end].`
	nodes, err := c.named(ctx, asked, fmt.Sprintf(where, resource("queue", queue)))
	if err != nil {
		return nil, fmt.Errorf("find the node of queue %s: %w", queue, err)
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("queue %s has no node", queue)
	}
	return nodes[0], nil
}

// Sees returns the others that run, as far as a node knows.
func (c *Cluster) Sees(ctx context.Context, n *Node) ([]*Node, error) {
	const others = `case erlang:function_exported(rabbit_nodes, list_running, 0) of
		true -> rabbit_nodes:list_running(); false -> rabbit_nodes:all_running() end -- [node()].`
	return c.named(ctx, n, others)
}

// named returns the nodes whose names are in the value of an Erlang expression.
func (c *Cluster) named(ctx context.Context, asked *Node, expression string) ([]*Node, error) {
	out, err := asked.Ctl(ctx, "eval", expression)
	return slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return !strings.Contains(out, "'"+n.name+"'") }), err
}

// Restore ends what was done to the nodes: it heals the cluster, resumes and starts them all, and waits until all answer
// and see each other. A node that does not find back in 20 seconds is killed and started, as an operator would: RabbitMQ
// 3.10.8 may hang for ever once it was frozen or cut off under load.
func (c *Cluster) Restore(ctx context.Context) error {
	if err := c.Heal(); err != nil {
		return err
	}
	for _, n := range c.nodes {
		n.Resume() // an error: it is down, and starts below
	}
	// Twice: a node that was frozen or cut off still shows what was before, until it finds out.
	for range 2 {
		for _, n := range c.nodes {
			if err := c.restore(ctx, n); err != nil {
				return fmt.Errorf("restore cluster: %w", err)
			}
		}
	}
	return nil
}

func (c *Cluster) restore(ctx context.Context, n *Node) error {
	try, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	launched, err := n.up()
	if err == nil && !launched && c.awaitSight(try, n) == nil {
		return nil
	}
	if err == nil && !launched {
		n.Kill() // an error: it has just ended
	}
	if err := each(c.nodes, func(n *Node) error { _, err := n.up(); return err }); err != nil { // it may wait for the others
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	return c.awaitSight(ctx, n)
}

// up makes the node run, and does not wait for it.
func (n *Node) up() (launched bool, err error) {
	_, launched, err = n.launch()
	return launched, err
}

// awaitSight waits until a node takes clients, and sees all others, for a while.
func (c *Cluster) awaitSight(ctx context.Context, n *Node) error {
	for {
		seen, err := c.look(ctx, n)
		select {
		case <-time.After(viewEvery):
		case <-ctx.Done():
			return fmt.Errorf("%s sees %d others (%v): %w", n.name, len(seen), err, context.Cause(ctx))
		}
		if err == nil && len(seen) == len(c.nodes)-1 {
			return nil
		}
	}
}

func (c *Cluster) look(ctx context.Context, n *Node) ([]*Node, error) {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	if err := probeBroker(ctx, c.ns.dialer(), n.address()); err != nil {
		return nil, err
	}
	return c.Sees(ctx, n)
}

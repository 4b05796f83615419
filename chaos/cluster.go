package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// A Cluster is a private RabbitMQ cluster, in a network namespace of its own. Each of its nodes can be stopped, killed and
// paused like any [Node], and cut off from the others. Clients reach each through its proxy, which is no part of what is cut.
//
// A node that is in a minority pauses itself: it disconnects its clients and takes no others. A node that is silent is down
// for the others after 6 to 10 seconds; the quorum queues that it leads have a new leader a second or two after it.
//
// A quorum queue needs a second after its declaration before the node of its leader is killed: RabbitMQ 3.10.8 may never find
// it a leader again.
//
// Nothing is left after Close, nor when this process panics, exits or is killed without it.
type Cluster struct {
	ns    *namespace
	guard *guard   // of the name service
	names *process // that all nodes share
	nodes []*Node

	mu   sync.Mutex // guards what follows
	cuts []*Filter
}

// maxNodes is how many have a letter for a name.
const maxNodes = 26

// StartCluster starts n nodes that form a cluster, and waits until all answer. The options are for each node; without others,
// it pauses when it is in a minority. Where there can be no network namespace, the error is [ErrNoNamespace].
func StartCluster(ctx context.Context, n int, opts ...Option) (*Cluster, error) {
	if n < 1 || n > maxNodes {
		return nil, fmt.Errorf("a cluster has from 1 to %d nodes, not %d", maxNodes, n)
	}
	in, err := findInstall()
	if err != nil {
		return nil, err
	}
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	c := &Cluster{ns: ns}
	if err := c.init(ctx, n, in, newOptions(opts)); err != nil {
		return nil, errors.Join(fmt.Errorf("start cluster: %w", err), c.Close())
	}
	return c, nil
}

func (c *Cluster) init(ctx context.Context, n int, in install, o options) error {
	first := clusterPlace(c.ns, 0)
	o.config = append([]string{
		"cluster_partition_handling = pause_minority",
		"cluster_formation.peer_discovery_backend = classic_config",
		"cluster_formation.classic_config.nodes.1 = " + first.name,
	}, o.config...)
	var hosts []string
	for i := range n {
		p := clusterPlace(c.ns, i)
		hosts = append(hosts, p.host)
		node, err := newNode(in, p, o)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, node)
	}
	if err := c.startNames(ctx, in, first, hosts); err != nil {
		return err
	}
	// Two that have no cluster yet, and find each other, may both wait for the other's; so the rest looks for the first.
	if err := c.nodes[0].Start(ctx); err != nil {
		return err
	}
	if err := each(c.nodes[1:], func(n *Node) error { return n.Start(ctx) }); err != nil {
		return err
	}
	_, err := c.nodes[0].Ctl(ctx, "await_online_nodes", strconv.Itoa(n))
	return err
}

// startNames starts the name service that all nodes share: its port is the same for all, and it cannot be on one address
// only.
func (c *Cluster) startNames(ctx context.Context, in install, first place, hosts []string) (err error) {
	if c.guard, err = startGuard(nil); err != nil {
		return err
	}
	c.guard.ns = c.ns
	env := environment(c.guard.dir, first)
	env = append(env, "ERL_EPMD_ADDRESS="+strings.Join(hosts, ",")) // the last of two is used
	c.names, err = startNames(ctx, c.guard, env, in, first)
	return err
}

// Nodes returns the nodes, whether or not they run. The first started first.
func (c *Cluster) Nodes() []*Node { return append([]*Node(nil), c.nodes...) }

// URLs returns the addresses of all nodes for clients.
func (c *Cluster) URLs() (urls []string) {
	for _, n := range c.nodes {
		urls = append(urls, n.URL())
	}
	return urls
}

// Others returns all nodes but one.
func (c *Cluster) Others(than *Node) (others []*Node) {
	for _, n := range c.nodes {
		if n != than {
			others = append(others, n)
		}
	}
	return others
}

// Close ends all nodes and removes all that they wrote. More calls do nothing.
func (c *Cluster) Close() error {
	err := each(c.nodes, (*Node).Close)
	if c.guard != nil {
		err = errors.Join(err, c.guard.close(c.names))
	}
	c.ns.close()
	return err
}

// each does the same with several nodes at a time.
func each(nodes []*Node, do func(*Node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

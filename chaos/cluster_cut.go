package chaos

import (
	"errors"
	"fmt"
)

// CutOff drops all packets between a node and the others, both ways, until the filter or the cluster is healed. Connections
// are not closed. Clients go on reaching it; once it knows that it is in a minority it pauses, and has no clients. Healed, it
// goes on.
func (c *Cluster) CutOff(n *Node) (*Filter, error) {
	var matches []string
	for _, other := range c.Others(n) {
		matches = append(matches, packets(n, other), packets(other, n))
	}
	return c.cut(n.name+" cut off", matches...)
}

// CutOneWay drops the packets from one node to another; the reverse direction still works. That is enough for neither to
// get an answer.
func (c *Cluster) CutOneWay(from, to *Node) (*Filter, error) {
	return c.cut(from.name+" cut from "+to.name, packets(from, to))
}

func (c *Cluster) cut(what string, matches ...string) (*Filter, error) {
	f, err := c.ns.filter(what, matches...)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts = append(c.cuts, f)
	return f, nil
}

// Heal lets all packets between nodes through again.
func (c *Cluster) Heal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, f := range c.cuts {
		errs = append(errs, f.Heal())
	}
	c.cuts = nil
	return errors.Join(errs...)
}

// packets matches those of Erlang's distribution. A node's other connections, such as that with the name service, have
// no address of its own.
func packets(from, to *Node) string {
	return fmt.Sprintf("ip saddr %s ip daddr %s", from.host, to.host)
}

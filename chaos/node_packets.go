package chaos

import "fmt"

// Loss drops a share of the packets between the node, which is in a namespace, and its clients, whichever way they go. TCP
// sends them again: bytes come late, by 200 ms and more, but they come. From 60 percent on, connections break.
func (n *Node) Loss(percent int) (*Filter, error) {
	what := fmt.Sprintf("loss of %d%% of the packets of %s", percent, n.name)
	if percent < 1 || percent > 100 {
		return nil, fmt.Errorf("%s: a percentage is from 1 to 100", what)
	}
	dice := fmt.Sprintf(" numgen random mod 100 < %d", percent)
	return n.ns.filter(what, n.toClients()+dice, n.fromClients()+dice)
}

// DropSYN drops the first packet of each new connection to the node, which is in a namespace. Who dials it hears nothing until
// the timeout; connections that exist go on.
func (n *Node) DropSYN() (*Filter, error) {
	return n.ns.filter("no new connections to "+n.name, n.fromClients()+" tcp flags & (syn | ack) == syn")
}

func (n *Node) fromClients() string {
	return fmt.Sprintf("ip daddr %s tcp dport %d", n.host, n.amqp)
}

func (n *Node) toClients() string {
	return fmt.Sprintf("ip saddr %s tcp sport %d", n.host, n.amqp)
}

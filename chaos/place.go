package chaos

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// A place is where a node is in a network, and what it is called there.
type place struct {
	ns   *namespace
	host string // an address of the loopback interface
	name string // of the Erlang node
	ports
}

// Nobody else is in a new namespace. These are the usual ports.
var usualPorts = ports{amqp: 5672, dist: 25672, epmd: 4369, tls: 5671}

// newPlace is for a node that is alone.
func newPlace(ns *namespace) (place, error) {
	p := place{ns: ns, host: "127.0.0.1", ports: usualPorts}
	if ns == nil {
		var err error
		if p.ports, err = freePorts(); err != nil {
			return place{}, err
		}
	}
	p.name = fmt.Sprintf("chaos%d@localhost", p.amqp)
	return p, nil
}

// clusterPlace is for the node of a cluster with that index: what it sends to others has its own address in it.
func clusterPlace(ns *namespace, i int) place {
	host := fmt.Sprintf("127.0.0.%d", 2+i)
	p := place{ns: ns, host: host, name: fmt.Sprintf("%c@%s", 'a'+i, host), ports: usualPorts}
	p.dist += i // or a node takes those that the name service knows for others on its host
	return p
}

// address returns that for clients.
func (p place) address() string { return net.JoinHostPort(p.host, strconv.Itoa(p.amqp)) }

// alone reports whether the place is for a node without a cluster.
func (p place) alone() bool { return strings.HasSuffix(p.name, "@localhost") }

// erlangFlags returns those for each Erlang there is, rabbitmqctl's too: the name service is ours, to start and to end; and
// only this machine may connect.
func (p place) erlangFlags() string {
	ip := "{" + strings.ReplaceAll(p.host, ".", ",") + "}"
	// Erlang/OTP 25 answers a lost connection by ending others, so that no two partitions overlap. With three nodes, and one
	// that was frozen, that can leave all of them in a minority.
	flags := "-start_epmd false -kernel prevent_overlapping_partitions false -kernel inet_dist_use_interface " + ip
	if !p.alone() {
		flags += " -kernel inet_dist_connect_options [{ip," + ip + "}]"
	}
	return flags
}

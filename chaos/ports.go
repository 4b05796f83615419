package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// ports are what a node listens on.
type ports struct{ amqp, dist, epmd, tls int }

// Below the ports that systems give to connections: a node's port must not become the local end of one while the node
// is down. It could even be that of a client which keeps dialling the node, and so gets itself.
const minPort, maxPort = 10000, 32767

func freePorts() (ports, error) {
	var found [4]int
	for i := range found {
		l, err := listenSomewhere()
		if err != nil {
			return ports{}, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // after the last is found, so that all differ
		found[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports{amqp: found[0], dist: found[1], epmd: found[2], tls: found[3]}, nil
}

func freePort() (int, error) {
	l, err := listenSomewhere()
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func listenSomewhere() (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", address(minPort+rand.IntN(maxPort-minPort+1))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

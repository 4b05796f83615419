package chaos

import (
	"fmt"
	"net"
	"strconv"
)

// tlsFiles are what a node's TLS listener needs, in PEM.
type tlsFiles struct{ ca, cert, key string }

// WithTLS makes the node listen for TLS as well, at [Node.TLSAddr], with these files in PEM: the node's certificate and key, and
// the authority of the clients' certificates. A client that shows none is refused. It is for nodes outside of a namespace.
func WithTLS(ca, cert, key string) Option {
	return func(o *options) { o.tls = &tlsFiles{ca, cert, key} }
}

// TLSAddr returns the host, localhost, and the port where clients reach the node over TLS.
func (n *Node) TLSAddr() string { return net.JoinHostPort("localhost", strconv.Itoa(n.tls)) }

func (f *tlsFiles) config(p place) []string {
	return []string{
		fmt.Sprintf("listeners.ssl.local = %s:%d", p.host, p.tls),
		"ssl_options.cacertfile = " + f.ca,
		"ssl_options.certfile = " + f.cert,
		"ssl_options.keyfile = " + f.key,
		"ssl_options.verify = verify_peer",
		"ssl_options.fail_if_no_peer_cert = true",
	}
}

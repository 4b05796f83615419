package chaos

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// A Proxy is a TCP proxy between clients and a broker. It can let go of the line without hanging up, hang up, and be
// out of reach.
type Proxy struct {
	url    string
	addr   string
	target string
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	listener net.Listener
	held     chan struct{} // nil while it forwards
	closed   bool
	conns    map[net.Conn]struct{}
}

// NewProxy starts a proxy on a free port of the loopback interface, for the broker at brokerURL.
func NewProxy(brokerURL string) (*Proxy, error) {
	u, err := url.Parse(brokerURL)
	if err != nil {
		return nil, fmt.Errorf("proxy: URL of the broker cannot be read") // the error of url.Parse shows the password
	}
	p := &Proxy{target: u.Host, addr: "127.0.0.1:0", conns: make(map[net.Conn]struct{})}
	if err := p.Listen(); err != nil {
		return nil, err
	}
	u.Host = p.addr
	p.url = u.String()
	return p, nil
}

// URL returns the broker's URL with the proxy's address in it.
func (p *Proxy) URL() string { return p.url }

// Listen ends what Refuse began.
func (p *Proxy) Listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.listener, p.addr = l, l.Addr().String()
	p.wg.Go(func() { p.accept(l) })
	return nil
}

// Refuse closes the port: dials are refused, until Listen. Open connections stay.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener.Close()
}

// Hold stops forwarding, in both directions, with all connections open: each side sees a peer that has gone silent, and
// whose receive buffers fill up. New connections are accepted and held as well.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// Release ends what Hold began: all that was held goes on its way.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// Cut resets all open connections, and returns their number.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns)
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0) // a reset, not a close in good order
		}
		c.Close()
	}
	clear(p.conns)
	return n / 2
}

// Close ends the proxy with all its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true // a connection that is on its way in gets no further
	p.mu.Unlock()
	p.Refuse()
	p.Release()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept(l net.Listener) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.DialTimeout("tcp", p.target, 5*time.Second)
		if err != nil {
			in.Close()
			continue
		}
		if !p.add(in, out) {
			p.hangUp(in)
			p.hangUp(out)
			return
		}
		p.wg.Go(func() { p.forward(in, out) })
		p.wg.Go(func() { p.forward(out, in) })
	}
}

// add makes the connections known to Cut and Close, unless the proxy is closed.
func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

func (p *Proxy) forward(to, from net.Conn) {
	defer p.hangUp(to)
	defer p.hangUp(from)
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held != nil {
			<-held
		}
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *Proxy) hangUp(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	c.Close()
}

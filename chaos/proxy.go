package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	proxyDialTimeout = 5 * time.Second       // to reach the broker
	proxyRetry       = 10 * time.Millisecond // after what should not fail
)

// A Proxy is a TCP proxy between clients and a broker, on which things go wrong as [Proxy.Inject] says. It understands AMQP
// 0-9-1, and forwards anything else as it is.
type Proxy struct {
	url    string
	addr   string
	target string
	dial   dialer          // to the broker
	life   context.Context // ends with Close
	stop   context.CancelFunc
	wg     sync.WaitGroup
	faults atomic.Pointer[faults]

	mu       sync.Mutex   // guards what follows, and changes of faults
	listener net.Listener // nil while dials are refused
	accepted int
	links    map[*link]struct{}
	closed   bool
}

// NewProxy starts a proxy on a free port of the loopback interface, for the broker at brokerURL. With TLS, clients that
// check the broker's name must be told which to expect, since it is not that of the proxy.
func NewProxy(brokerURL string) (*Proxy, error) {
	return newProxy(brokerURL, (*namespace)(nil).dialer())
}

func newProxy(brokerURL string, dial dialer) (*Proxy, error) {
	u, err := url.Parse(brokerURL)
	if err != nil {
		return nil, errors.New("proxy: URL of the broker cannot be read") // the error of url.Parse shows the password
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "amqps":
		port = "5671"
	default:
		port = "5672"
	}
	l, err := listenSomewhere()
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{
		target: net.JoinHostPort(u.Hostname(), port), dial: dial, addr: l.Addr().String(), links: make(map[*link]struct{}),
	}
	p.faults.Store(&faults{changed: make(chan struct{})})
	p.life, p.stop = context.WithCancel(context.Background())
	u.Host = p.addr
	p.url = u.String()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve(l)
	return p, nil
}

// URL returns the broker's URL with the proxy's address in it.
func (p *Proxy) URL() string { return p.url }

// Close ends the proxy with all its connections. Nothing of it is left running.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true // a connection that is on its way in gets no further
	p.stop()
	if p.listener != nil {
		p.listener.Close()
	}
	for l := range p.links {
		l.abort()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// door opens the port, or closes it, as the faults say.
func (p *Proxy) door() {
	refused := false
	for _, in := range p.faults.Load().active {
		if _, ok := in.fault.(Refuse); ok {
			refused = true
			in.bites.Store(1)
		}
	}
	switch {
	case p.closed:
	case refused && p.listener != nil:
		p.listener.Close()
		p.listener = nil
	case !refused && p.listener == nil:
		if l, err := net.Listen("tcp", p.addr); err == nil {
			p.serve(l)
		} else { // somebody has taken the port meanwhile: it is not one that systems give to connections, so that is rare
			p.wg.Go(p.reopen)
		}
	}
}

func (p *Proxy) reopen() {
	select {
	case <-time.After(proxyRetry):
	case <-p.life.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.door()
}

func (p *Proxy) serve(l net.Listener) {
	p.listener = l
	p.wg.Go(func() { p.accept(l) })
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		switch {
		case err == nil:
			p.wg.Go(func() { p.forward(client.(*net.TCPConn)) })
		case errors.Is(err, net.ErrClosed):
			return
		default: // too many open files, perhaps
			select {
			case <-time.After(proxyRetry):
			case <-p.life.Done():
			}
		}
	}
}

// forward is the life of a link.
func (p *Proxy) forward(client *net.TCPConn) {
	l := newLink(p, client)
	if !p.add(l) {
		return
	}
	defer p.remove(l)
	for _, in := range p.faults.Load().active {
		if f, ok := in.fault.(Impostor); ok {
			in.bite()
			l.impersonate(f)
			return
		}
	}
	ctx, cancel := context.WithTimeout(p.life, proxyDialTimeout)
	broker, err := p.dial(ctx, p.target)
	cancel()
	switch {
	case err != nil:
		l.once.Do(l.close)
	case l.attach(broker.(*net.TCPConn)):
		l.run()
	default:
		broker.Close()
		l.discard()
	}
}

// add makes a link known, unless the proxy is closed: then it ends the link.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		l.abort()
		return false
	}
	p.accepted++
	l.number = p.accepted
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

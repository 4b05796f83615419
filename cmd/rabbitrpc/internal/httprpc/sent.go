package httprpc

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// A counted is a connection that counts what is written to it.
type counted struct {
	net.Conn
	n atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p))) // before: an error does not tell how much of it got away
	return c.Conn.Write(p)
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTimeout}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &counted{Conn: c}, nil
}

// A sent knows whether any byte of a request was written.
type sent struct {
	mu    sync.Mutex // guards what follows: net/http may have got a connection for a request that it has given up
	conns []*counted // those that it was given, with what had been written before
	n     []int64
}

// watch returns a context for the request.
func (s *sent) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		conn := got.Conn
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn()
		}
		c := conn.(*counted)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns, s.n = append(s.conns, c), append(s.n, c.n.Load())
	}})
}

func (s *sent) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.conns {
		if c.n.Load() > s.n[i] {
			return true
		}
	}
	return false
}

package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// pipes is a listener in memory, so that time is virtual.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(t *testing.T) net.Conn {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
	case <-p.closed:
		t.Fatal("it does not listen any more")
	}
	return ours
}

// running is a gateway that serves a call at a time.
type running struct {
	*pipes
	stop  context.CancelFunc
	ended chan error
}

func run(t *testing.T, do rpc.Handler, change func(*config.Gateway)) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{newPipes(), cancel, make(chan error, 1)}
	g := newGateway(t, do, change)
	go func() { r.ended <- g.Serve(ctx, r) }()
	return r
}

const request = "POST /call/a/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1"

// status reads a response.
func status(t *testing.T, c net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// lasting is a handler that takes d, unless its context ends before, and says how it ended.
func lasting(d time.Duration, ended chan<- error) rpc.Handler {
	return func(ctx context.Context, _ *rpc.Request) (*rpc.Reply, error) {
		select {
		case <-time.After(d):
			ended <- nil
			return &rpc.Reply{Body: []byte("1")}, nil
		case <-ctx.Done():
			ended <- ctx.Err()
			return nil, rpc.Errorf(rpc.Canceled, "canceled")
		}
	}
}

func TestClientGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		r := run(t, lasting(time.Hour, ended), nil)
		c := r.dial(t)
		io.WriteString(c, request)
		time.Sleep(time.Second)
		c.Close()
		start := time.Now()
		if err := <-ended; err != context.Canceled || time.Since(start) > 0 {
			t.Errorf("call ended with %v after %v, want canceled at once", err, time.Since(start))
		}
		r.stop()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
}

// A call may take longer than a request may take to arrive.
func TestLongCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		r := run(t, lasting(10*time.Minute, ended), nil)
		c := r.dial(t)
		defer c.Close()
		io.WriteString(c, request)
		if got := status(t, c); got != 200 {
			t.Errorf("status %d, %v", got, <-ended)
		}
		r.stop()
		<-r.ended
	})
}

func TestSlowClients(t *testing.T) {
	for name, sent := range map[string]string{
		"nothing":              "",
		"half a header":        "POST /call/a/b HTTP/1.1\r\nHost: localh",
		"half a body":          "POST /call/a/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1",
		"nothing after a call": request,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, echo, nil)
				c := r.dial(t)
				defer c.Close()
				io.WriteString(c, sent)
				start := time.Now()
				io.Copy(io.Discard, c) // until the gateway closes it
				if took := time.Since(start); took > 2*time.Minute {
					t.Errorf("closed after %v", took)
				}
				r.stop()
				<-r.ended
			})
		})
	}
}

func TestClientDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, echo, nil)
		c := r.dial(t)
		defer c.Close()
		io.WriteString(c, request)
		time.Sleep(2 * time.Minute)
		r.stop()
		if err := <-r.ended; err != nil {
			t.Errorf("got %v: does it still write?", err)
		}
	})
}

// A body that is said to be too long is not asked for, and not waited for.
func TestBodyIsSaidToBeTooLong(t *testing.T) {
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t, never, nil)
			c := r.dial(t)
			defer c.Close()
			start := time.Now()
			io.WriteString(c, "POST /call/a/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n"+expect+"\r\n")
			if got := status(t, c); got != 413 || time.Since(start) > 0 {
				t.Errorf("%sstatus %d after %v, want 413 at once", expect, got, time.Since(start))
			}
			r.stop()
			<-r.ended
		})
	}
}

// A client of HTTP/1.0 can tell a reply that was cut off by its length alone.
func TestLengthOfAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, func(context.Context, *rpc.Request) (*rpc.Reply, error) {
			return &rpc.Reply{Body: make([]byte, 100_000)}, nil
		}, nil)
		c := r.dial(t)
		defer c.Close()
		io.WriteString(c, "POST /call/a/b HTTP/1.0\r\nHost: localhost\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); resp.ContentLength != 100_000 || len(body) != 100_000 || err != nil {
			t.Errorf("said to have %d bytes, got %d, %v", resp.ContentLength, len(body), err)
		}
		r.stop()
		<-r.ended
	})
}

func TestHeadersTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, never, nil)
		c := r.dial(t)
		defer c.Close()
		go io.WriteString(c, "POST /call/a/b HTTP/1.1\r\nA: "+strings.Repeat("x", 100_000))
		if got := status(t, c); got != 431 {
			t.Errorf("status %d", got)
		}
		r.stop()
		<-r.ended
	})
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name   string
		call   time.Duration
		status int
		err    string
		took   time.Duration
	}{
		{"the call ends in time", 20 * time.Second, 200, "", 20 * time.Second},
		{"the call does not", time.Hour, 499, "not answered within 30s", 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				r := run(t, lasting(c.call, ended), nil)
				conn := r.dial(t)
				defer conn.Close()
				io.WriteString(conn, request)
				synctest.Wait()
				start := time.Now()
				r.stop()
				if got := status(t, conn); got != c.status {
					t.Errorf("status %d, want %d", got, c.status)
				}
				err := <-r.ended
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				if took := time.Since(start); took < c.took || took > c.took+2*time.Second {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	g := newGateway(t, echo, func(c *config.Gateway) { c.Listen, c.MaxConnections = "127.0.0.1:0", 1 })
	l, err := g.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- g.Serve(ctx, l) }()
	first, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(first, request)
	if got := status(t, first); got != 200 {
		t.Fatalf("status %d", got)
	}
	second, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	fmt.Fprint(second, request)
	second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes: a second connection is served beside the first", n)
	}
	first.Close()
	second.SetReadDeadline(time.Time{})
	if got := status(t, second); got != 200 {
		t.Errorf("status %d", got)
	}
	second.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := newGateway(t, echo, func(c *config.Gateway) { c.Listen = l.Addr().String() })
	if _, err := g.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v, want an error that names %s", err, l.Addr())
	}
}

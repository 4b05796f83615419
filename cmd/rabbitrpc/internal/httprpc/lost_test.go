package httprpc_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/httprpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// listener takes connections one after the other, and does with them what serve says.
func listener(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func readRequest(c net.Conn) {
	if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		io.Copy(io.Discard, r.Body)
	}
}

func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	u, log := upstream(t, "http://"+l.Addr().String()+"/?key=secret", nil)
	_, err = u.Handle(within(t, 5*time.Second), &rpc.Request{ID: "4711"})
	check(t, err, rpc.Unavailable, "upstream cannot be reached", rpc.ExecutedNo)
	if text := log.String(); !strings.Contains(text, "4711") || !strings.Contains(text, "refused") || strings.Contains(text, "secret") {
		t.Errorf("log is %s", text)
	}
}

func TestConnectionLost(t *testing.T) {
	const lost = "upstream ended the connection before it answered"
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
	}{
		{"after the request", readRequest},
		{"in the middle of the status line", func(c net.Conn) { readRequest(c); io.WriteString(c, "HTTP/1.1 2") }},
		{"in the middle of the body", func(c net.Conn) { readRequest(c); io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1") }},
		{"no HTTP", func(c net.Conn) { readRequest(c); io.WriteString(c, "hello\r\n\r\n") }},
		{"endless headers", func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 100_000))
			io.Copy(io.Discard, c)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, _ := upstream(t, listener(t, c.serve), nil)
			_, err := u.Handle(within(t, 5*time.Second), &rpc.Request{ID: "1", Body: []byte("1")})
			check(t, err, rpc.Unavailable, lost, rpc.ExecutedUnknown)
		})
	}
}

func TestDeadline(t *testing.T) {
	for _, c := range []struct{ name, begin string }{
		{"before the response", ""},
		{"in the middle of the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, _ := upstream(t, listener(t, func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, c.begin)
				io.Copy(io.Discard, conn)
			}), nil)
			_, err := u.Handle(within(t, 200*time.Millisecond), &rpc.Request{})
			check(t, err, rpc.DeadlineExceeded, "upstream did not answer in time", rpc.ExecutedUnknown)
		})
	}
}

// TestBodyOfAnErrorIsNotAwaited: the status is known, and a worker is not to be held until the deadline.
func TestBodyOfAnErrorIsNotAwaited(t *testing.T) {
	const head = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Type: application/problem+json\r\n"
	for name, send := range map[string]func(net.Conn){
		"it hangs": func(c net.Conn) {
			io.WriteString(c, head+"Content-Length: 9\r\n\r\n{")
			io.Copy(io.Discard, c)
		},
		"it trickles": func(c net.Conn) {
			io.WriteString(c, head+"\r\n")
			for _, err := c.Write([]byte(" ")); err == nil; _, err = c.Write([]byte(" ")) {
				time.Sleep(50 * time.Millisecond)
			}
		},
		"it is endless": func(c net.Conn) {
			io.WriteString(c, head+"\r\n")
			if n, _ := io.Copy(c, endless{}); n > 32<<20 { // what is on its way is in buffers
				t.Errorf("it took %d bytes", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, _ := upstream(t, listener(t, func(c net.Conn) { readRequest(c); send(c) }), func(c *httprpc.Config) { c.MaxReply = 512 << 20 })
			start := time.Now()
			_, err := u.Handle(within(t, 20*time.Second), &rpc.Request{})
			if e := check(t, err, rpc.ResourceExhausted, "upstream answered 429", rpc.ExecutedNo); e.RetryAfter != 7*time.Second {
				t.Errorf("retry after %v, want 7s", e.RetryAfter)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A request that waited for a connection in vain was not sent.
func TestNoConnectionIsFree(t *testing.T) {
	arrived, end := make(chan struct{}), make(chan struct{})
	u, _ := serve(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-end }, func(c *httprpc.Config) { c.MaxConnections = 1 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.Handle(within(t, 5*time.Second), &rpc.Request{})
	}()
	<-arrived
	_, err := u.Handle(within(t, 100*time.Millisecond), &rpc.Request{})
	check(t, err, rpc.DeadlineExceeded, "in time", rpc.ExecutedNo)
	close(end)
	<-done
}

// TestKeptConnectionIsLost: the second request on a connection is read, and answered with its end.
func TestKeptConnectionIsLost(t *testing.T) {
	for _, c := range []struct {
		name       string
		idempotent bool
		body       string
		requests   int32
	}{
		{"may have been executed", false, "1", 2},
		{"may have been executed, without a body", false, "", 2},
		{"is sent again", true, "1", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) == 2 {
					panic(http.ErrAbortHandler)
				}
			}))
			t.Cleanup(s.Close)
			u, _ := upstream(t, s.URL, func(cfg *httprpc.Config) { cfg.Idempotent = c.idempotent })
			r := &rpc.Request{ID: "1", Body: []byte(c.body)}
			if _, err := u.Handle(within(t, 5*time.Second), r); err != nil {
				t.Fatal(err)
			}
			_, err := u.Handle(within(t, 5*time.Second), r)
			if c.idempotent && err != nil {
				t.Errorf("got %v", err)
			} else if !c.idempotent {
				check(t, err, rpc.Unavailable, "ended the connection", rpc.ExecutedUnknown)
			}
			if n := requests.Load(); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
		})
	}
}

func TestServerStops(t *testing.T) {
	arrived := make(chan struct{})
	u, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() }, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := u.Handle(ctx, &rpc.Request{})
	check(t, err, rpc.Unavailable, "server stopped before", rpc.ExecutedUnknown)
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	u, _ := upstream(t, s.URL, nil)
	_, err := u.Handle(within(t, 5*time.Second), &rpc.Request{}) // its certificate is of nobody we know
	check(t, err, rpc.Unavailable, "upstream cannot be reached", rpc.ExecutedNo)
}

// An upstream that speaks something else from now on does not keep a worker.
func TestSwitchedProtocols(t *testing.T) {
	u, _ := upstream(t, listener(t, func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		io.Copy(io.Discard, c)
	}), nil)
	ctx := within(t, 5*time.Second)
	_, err := u.Handle(ctx, &rpc.Request{})
	check(t, err, rpc.Unknown, "upstream answered 101 Switching Protocols", rpc.ExecutedYes)
	if ctx.Err() != nil {
		t.Error("the worker was kept beyond the deadline")
	}
}

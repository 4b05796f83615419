package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(leakless(m)) }

func leakless(m *testing.M) int {
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		println(err.Error())
		return 1
	}
	return code
}

// A running listener.
type running struct {
	*Listener
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run
}

// run answers until the test ends, or stop.
func run(t *testing.T, c Config) *running {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, l)
}

func start(t *testing.T, l *Listener) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Listener: l, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = l.Run(ctx)
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}

func (r *running) url(path string) string { return "http://" + r.Addr() + path }

func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name string
		c    Config
		want string // part of the error; "" for none
	}{
		{"loopback", Config{Addr: "127.0.0.1:0"}, ""},
		{"loopback by name", Config{Addr: "localhost:0"}, ""},
		{"all addresses", Config{Addr: ":0"}, "can be reached from other hosts: set a token"},
		{"all addresses, named", Config{Addr: "0.0.0.0:0"}, "can be reached from other hosts: set a token"},
		{"all addresses, with a token", Config{Addr: ":0", Token: secret}, ""},
		{"all addresses, on purpose", Config{Addr: ":0", Open: true}, ""},
		{"short token", Config{Addr: "127.0.0.1:0", Token: "secret"}, "has a token of 6 bytes"},
		{"taken", Config{Addr: taken.Addr().String()}, taken.Addr().String() + " is taken"},
		{"no port", Config{Addr: "127.0.0.1"}, "must be an address and a port, such as 127.0.0.1:9672"},
		{"no address of this host", Config{Addr: "192.0.2.1:0", Token: secret}, "admin listener: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Log = slog.New(slog.DiscardHandler)
			l, err := Listen(tt.c)
			if err == nil {
				l.listener.Close()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %s", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
}

// connect opens connections that say nothing.
func connect(t *testing.T, r *running, n int) (all []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(30 * time.Second))
		all = append(all, c)
	}
	return all
}

func get(r *running, path string, timeout time.Duration) error {
	client := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(r.url(path))
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func TestConnectionsAreBounded(t *testing.T) {
	r := run(t, (&fake{}).config("127.0.0.1:0"))
	silent := connect(t, r, maxConnections)
	if err := get(r, "/livez", 100*time.Millisecond); err == nil {
		t.Errorf("answered with %d connections", len(silent)+1)
	}
	silent[0].Close()
	if err := get(r, "/livez", 30*time.Second); err != nil {
		t.Errorf("not answered, though one has ended: %v", err)
	}
}

// adjusted answers with other times, so that the test need not take seconds.
func adjusted(t *testing.T, c Config, adjust func(*http.Server)) *running {
	t.Helper()
	c.Log = slog.New(slog.DiscardHandler)
	l, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	s := l.server
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Fatalf("something is not bounded: %+v", s)
	}
	adjust(s)
	return start(t, l)
}

func TestSlowHeader(t *testing.T) {
	r := adjusted(t, (&fake{}).config("127.0.0.1:0"), func(s *http.Server) { s.ReadHeaderTimeout = 50 * time.Millisecond })
	c := connect(t, r, 1)[0]
	io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection goes on: %v", err)
	}
}

func TestLongHeader(t *testing.T) {
	r := run(t, (&fake{}).config("127.0.0.1:0"))
	c := connect(t, r, 1)[0]
	go io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 64<<10))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %s", res.Status)
	}
}

// TestSlowReader: who does not read what it has asked for holds nothing for long.
func TestSlowReader(t *testing.T) {
	ended := make(chan error, 1)
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 64 { // more than the sockets take
			if _, err := w.Write(chunk); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	})
	r := adjusted(t, (&fake{}).config("127.0.0.1:0"), func(s *http.Server) { s.WriteTimeout, s.Handler = 50*time.Millisecond, endless })
	io.WriteString(connect(t, r, 1)[0], "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the end of its time", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it waits for its reader")
	}
}

// TestStop: what is on its way is answered, what takes too long is not waited for.
func TestStop(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	waits := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		select {
		case <-answer:
		case <-r.Context().Done():
		}
	})
	for _, tt := range []struct {
		name   string
		quick  bool
		within time.Duration
	}{{"answer on its way", true, closeTimeout}, {"answer that does not come", false, closeTimeout + 20*time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			asked, answer = make(chan struct{}), make(chan struct{})
			r := adjusted(t, (&fake{}).config("127.0.0.1:0"), func(s *http.Server) { s.Handler = waits })
			got := make(chan error, 1)
			go func() { got <- get(r, "/metrics", 30*time.Second) }()
			<-asked
			r.cancel()
			if tt.quick {
				close(answer)
			}
			select {
			case <-r.done:
			case <-time.After(tt.within):
				t.Fatalf("it runs still after %v", tt.within)
			}
			if err := <-got; (err == nil) != tt.quick {
				t.Errorf("got %v", err)
			}
			if r.err != nil {
				t.Errorf("run: %v", r.err)
			}
		})
	}
}

// TestListenerLost: a listener that ends by itself is an error.
func TestListenerLost(t *testing.T) {
	r := run(t, (&fake{}).config("127.0.0.1:0"))
	r.listener.Close()
	<-r.done
	if r.err == nil || !strings.HasPrefix(r.err.Error(), "admin listener: ") {
		t.Errorf("got %v", r.err)
	}
}

package chaos_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

func TestNode(t *testing.T) {
	t.Parallel()
	n := startNode(t, chaos.WithConfig("heartbeat = 77"), chaos.WithPlugins("rabbitmq_event_exchange"))
	for _, tt := range []struct {
		name string
		test func(*testing.T, *chaos.Node)
	}{
		{"is as it was asked for", testSettings},
		{"pauses", testPause},
		{"closes", testClose},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, n) })
	}
}

func testSettings(t *testing.T, n *chaos.Node) {
	if err := greet(n.URL(), patience); err != nil {
		t.Error(err)
	}
	if out, err := n.Ctl(t.Context(), "authenticate_user", "guest", "guest"); err != nil {
		t.Errorf("guest: %s, %v", out, err)
	}
	const (
		heartbeat = `element(2, application:get_env(rabbit, heartbeat))`
		plugins   = `rabbit_plugins:active()`
		listeners = `[A || P <- erlang:ports(), {name, "tcp_inet"} <- [erlang:port_info(P, name)],
			{ok, F} <- [prim_inet:getstatus(P)], lists:member(listen, F), {ok, {A, _}} <- [inet:sockname(P)]]`
	)
	got, err := n.Ctl(t.Context(), "eval", "{"+heartbeat+", "+plugins+", "+listeners+"}.")
	if want := "{77,[rabbitmq_event_exchange],[{127,0,0,1},{127,0,0,1}]}"; got != want || err != nil {
		t.Errorf("heartbeat, plugins and listeners, for AMQP and for Erlang's distribution, are %s (%v), want %s", got, err, want)
	}
	_, err = n.Ctl(t.Context(), "delete_vhost", "absent")
	if err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v, want the reason that rabbitmqctl prints", err)
	}
}

func testPause(t *testing.T, n *chaos.Node) {
	for range 2 { // twice is as good as once
		if err := n.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	var timeout net.Error
	if err := greet(n.URL(), 300*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("paused node: got %v, want a timeout", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := n.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start of a paused node: got %v, want it to wait", err)
	}
	if _, err := n.Ctl(ctx, "list_vhosts"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ctl of a paused node: got %v, want deadline exceeded", err)
	}
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := greet(n.URL(), patience); err != nil {
		t.Errorf("resumed node: %v", err)
	}
}

func testClose(t *testing.T, n *chaos.Node) {
	if _, err := os.Stat(n.Log()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(n.Log())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of a closed node: got %v, want none", err)
	}
	if err := n.Start(t.Context()); err == nil {
		t.Error("a closed node started")
	}
	if _, err := n.Ctl(t.Context(), "status"); err == nil {
		t.Error("Ctl of a closed node got an answer")
	}
	if err := n.Kill(); !errors.Is(err, chaos.ErrDown) {
		t.Errorf("Kill of a closed node: got %v, want ErrDown", err)
	}
}

func TestNodeLives(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	addr := n.URL()
	if _, err := n.Ctl(ctx, "add_vhost", "kept"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		end  func() error
		long bool
	}{
		{"stopped", func() error { return n.Stop(ctx) }, true},
		{"killed", n.Kill, false},
		{"stopped while paused", func() error { return errors.Join(n.Pause(), n.Stop(ctx)) }, false},
		{"killed while paused", func() error { return errors.Join(n.Pause(), n.Kill()) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.long && os.Getenv("RABBITRPC_LONG") == "" {
				t.Skip("starts the node once more: run make test-long")
			}
			if err := tt.end(); err != nil {
				t.Fatal(err)
			}
			if got := greet(addr, time.Second); got == nil {
				t.Error("node answers after its end")
			}
			for verb, do := range map[string]func() error{"Kill": n.Kill, "Pause": n.Pause, "Resume": n.Resume} {
				if err := do(); !errors.Is(err, chaos.ErrDown) {
					t.Errorf("%s of a node that is down: got %v, want ErrDown", verb, err)
				}
			}
			if err := n.Stop(ctx); err != nil {
				t.Errorf("Stop of a node that is down: %v", err)
			}
			if err := n.Start(ctx); err != nil {
				t.Fatal(err)
			}
			if err := greet(addr, patience); err != nil {
				t.Errorf("node does not answer where it did: %v", err)
			}
			out, err := n.Ctl(ctx, "list_vhosts", "name")
			if err != nil || !strings.Contains(out, "kept") {
				t.Errorf("after the start, vhosts are %q (%v), want one named kept", out, err)
			}
		})
	}
	if got := n.URL(); got != addr {
		t.Errorf("URL became %s, want %s", got, addr)
	}
}

func TestStartShowsReason(t *testing.T) {
	temp := ownTemp(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := chaos.StartNode(ctx, chaos.WithConfig("no.such.setting = 1"))
	if err == nil || !strings.Contains(err.Error(), "no.such.setting") {
		t.Errorf("got %v, want what the broker says about its configuration", err)
	}
	wantEmpty(t, temp)
}

func TestStartEndsWithContext(t *testing.T) {
	temp := ownTemp(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := chaos.StartNode(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want deadline exceeded", err)
	}
	wantEmpty(t, temp)
}

func TestStartWithoutServer(t *testing.T) {
	t.Setenv("RABBITMQ_SERVER", "/nowhere/rabbitmq-server")
	_, err := chaos.StartNode(t.Context())
	if !errors.Is(err, chaos.ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install rabbitmq-server") {
		t.Errorf("got %v, want how to install RabbitMQ", err)
	}
}

// ownTemp makes a folder in which the test's servers have their folders.
func ownTemp(t *testing.T) string {
	t.Helper()
	temp := openTemp(t)
	t.Setenv("TMPDIR", temp)
	return temp
}

// openTemp makes a temporary folder that is open to all, as a server's user needs not be ours.
func openTemp(t *testing.T) string {
	t.Helper()
	temp := t.TempDir()
	for _, folder := range []string{filepath.Dir(temp), temp} {
		if err := os.Chmod(folder, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return temp
}

// greet sends a protocol header that no broker can like, and waits for the broker's own in reply.
func greet(addr string, timeout time.Duration) error {
	u, err := url.Parse(addr)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", u.Host, timeout)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(timeout))
	if _, err := c.Write([]byte("AMQP\x09\x09\x09\x09")); err != nil {
		return err
	}
	got, err := bufio.NewReader(c).Peek(4)
	if err == nil && string(got) != "AMQP" {
		err = errors.New("answer is " + string(got))
	}
	return err
}

func wantEmpty(t *testing.T, folder string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
		t.Errorf("left on disk: %q", left)
	}
}

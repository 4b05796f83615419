package daemon_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// manager listens as systemd does.
type manager struct {
	t     *testing.T
	lines chan string
}

func listen(t *testing.T, watchdog string) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	m := &manager{t: t, lines: make(chan string, 10_000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			for line := range strings.Lines(string(buf[:n])) {
				m.lines <- strings.TrimSpace(line)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", watchdog)
	return m
}

// hears waits for a line that begins with want, and returns those before it.
func (m *manager) hears(want string) (before []string) {
	m.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case line := <-m.lines:
			if strings.HasPrefix(line, want) {
				return before
			}
			before = append(before, line)
		case <-limit:
			m.t.Fatalf("did not hear %s, but %q", want, before)
		}
	}
}

func TestSystemd(t *testing.T) {
	m := listen(t, "60000") // 60 ms
	caller(t, "sysd")
	r := start(t, "services: [{name: sysd, kind: worker, drain: 7s, slow: 5s}]")
	if before := strings.Join(m.hears("READY=1"), " "); !strings.Contains(before, "EXTEND_TIMEOUT_USEC=30000000") {
		t.Errorf("got %s before it was ready, want that it needs more time", before)
	}
	m.hears("STATUS=serving sysd at amqp://")
	m.hears("WATCHDOG=1")
	m.hears("WATCHDOG=1")
	r.reload("services: [{name: sysd, kind: worker, workers: 3, drain: 7s, slow: 5s}]")
	m.hears("RELOADING=1")
	m.hears("MONOTONIC_USEC=")
	m.hears("READY=1")
	r.stop()
	m.hears("STOPPING=1")
	m.hears("STATUS=draining")
	m.hears("EXTEND_TIMEOUT_USEC=22000000") // the drain, what its kind needs to close, and ten seconds
	must(t, r.ended())
}

// TestSystemdDoesNotListen: a service manager that takes nothing more holds up neither the start nor the end.
func TestSystemdDoesNotListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000")
	caller(t, "sysd-deaf")
	r := up(t, "services: [{name: sysd-deaf, kind: worker}]")
	r.until("it takes nothing more", func() bool { return strings.Contains(r.log.String(), "systemd cannot be told") })
	r.stop()
	must(t, r.ended())
}

// TestWatchdog: a pool whose workers are all held for good is not alive, whatever the rest of the process does.
func TestWatchdog(t *testing.T) {
	m := listen(t, "60000")
	c := caller(t, "sysd-frozen")
	r := up(t, "services: [{name: sysd-frozen, kind: worker, workers: 1, drain: 10ms}]")
	r.until("a call holds the worker", func() bool { // on a busy machine the first may be late
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := c.Do(ctx, &rpc.Request{Service: "sysd-frozen", Method: "hang", ContentType: rpc.ContentTypeText}); err == nil {
			t.Error("a handler that hangs has answered")
		}
		return r.daemon.Servers()[0].Stats().Running == 1
	})
	m.hears("STATUS=service sysd-frozen: all 1 workers are held by calls whose deadlines are over")
	select {
	case line := <-m.lines:
		if line == "WATCHDOG=1" {
			t.Error("the watchdog is fed")
		}
	case <-time.After(patience):
	}
	close(r.release)
	m.hears("WATCHDOG=1")
}

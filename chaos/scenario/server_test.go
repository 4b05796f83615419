package scenario

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

func newTestServer(t *testing.T, script string) *server {
	t.Helper()
	line, err := chaos.NewProxy("amqp://localhost")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{name: "server-1", line: line, command: chaos.Command{
		Args: []string{"/bin/sh", "-c", script}, Log: filepath.Join(t.TempDir(), "log"),
	}}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// logged waits until the server has said it so often.
func (s *server) logged(t *testing.T, what string, times int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		b, _ := os.ReadFile(s.command.Log)
		if strings.Count(string(b), what) >= times {
			return
		}
		if !wait(ctx, 10*time.Millisecond) {
			t.Fatalf("%q is not %d times in the log:\n%s", what, times, b)
		}
	}
}

// A server that does not obey SIGTERM is killed when its time is over, and that is an error that names it.
func TestStopIsBounded(t *testing.T) {
	s := newTestServer(t, "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
	s.logged(t, "deaf", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "server-1") {
		t.Errorf("got %v, want an error that names the server", err)
	}
	if s.process().Alive() {
		t.Error("it is still there")
	}
}

// A server that ends by itself is started again, and one that was killed is not.
func TestSupervise(t *testing.T) {
	s := newTestServer(t, "echo alive; sleep 0.1")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.supervise(ctx, func(err error) { t.Errorf("crashed: %v", err) }) }()
	defer func() { cancel(); <-done }()
	s.logged(t, "alive", 2)
	s.Kill() // an error: it has just ended
	wait(t.Context(), 3*restartAfter)
	if s.process().Alive() {
		t.Error("it was started again after a kill")
	}
}

// A server that a signal has ended, which nobody sent, has crashed.
func TestCrashIsTold(t *testing.T) {
	s := newTestServer(t, "echo alive; kill -s ABRT $$")
	ctx, cancel := context.WithCancel(t.Context())
	crashes := make(chan error, 100)
	done := make(chan struct{})
	go func() { defer close(done); s.supervise(ctx, func(err error) { crashes <- err }) }()
	defer func() { cancel(); <-done }()
	for range 2 {
		if err := <-crashes; !strings.Contains(err.Error(), "abort") {
			t.Errorf("got %v, want the signal", err)
		}
	}
}

// Only a server that dies where it was told to has crashed.
func TestCrash(t *testing.T) {
	const broken = `test -z "$RABBITRPC_FAILPOINTS" && exec sleep 60; ` // in its second life
	for _, c := range []struct{ name, script, want string }{
		{"where it was told to", "kill -s KILL $$", ""},
		{"by itself", "exit 3", "server-1 has ended before applied@1: exit status 3"},
		{"in good order", "exit 0", "server-1 has ended before applied@1: with exit code 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTestServer(t, broken+c.script)
			r := &run{servers: map[string]*server{"server-1": s}}
			heal, err := crash(t.Context(), r, Step{Target: "server-1", Fault: crashFault, Point: "applied@1"})
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err := heal(t.Context()); err != nil || !s.process().Alive() {
				t.Errorf("it was not started again: %v", err)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"echo bye", "exit code 0"},
		{"echo bye; exit 3", "exit status 3"},
	} {
		s := newTestServer(t, c.script)
		<-s.process().Done()
		if err := s.ended(t.Context()); err == nil || !strings.Contains(err.Error(), c.want+"\nbye") {
			t.Errorf("got %v, want %q and what the server said", err, c.want)
		}
	}
}

// A scenario may be run again: no run takes the folder of another.
func TestMakeDir(t *testing.T) {
	in := t.TempDir()
	for _, want := range []string{"reset", "reset-2", "reset-3"} {
		if dir, err := makeDir(in, "reset"); err != nil || filepath.Base(dir) != want {
			t.Errorf("got %s, %v, want %s", dir, err, want)
		}
	}
	if _, err := makeDir(filepath.Join(in, "nowhere"), "reset"); err == nil {
		t.Error("no error where no folder can be made")
	}
}

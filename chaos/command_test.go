package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
)

const childEnv = "RABBITRPC_CHAOS_CHILD" // makes the test binary a user's command; its value is the exit code

// child is a command that has a child of its own in its process group.
func child() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	exec.Command("sleep", "60").Start() // an error shows in the tests: there is no group then
	fmt.Fprintln(os.Stderr, "ready soon")
	fmt.Println("ready")
	select {
	case <-stop:
	case <-time.After(patience):
	}
	var code int
	fmt.Sscan(os.Getenv(childEnv), &code)
	fmt.Println("stopped")
	os.Exit(code)
}

func childCommand() chaos.Command {
	return chaos.Command{Args: os.Args[:1], Env: []string{childEnv + "=7"}, Line: "ready"}
}

func startProcess(t *testing.T, c chaos.Command) *chaos.Process {
	t.Helper()
	p, err := chaos.StartProcess(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestProcess(t *testing.T) {
	t.Parallel()
	c := childCommand()
	c.Log = filepath.Join(t.TempDir(), "kept.log")
	p := startProcess(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, tt := range []struct {
		name string
		end  func() error
		want string
	}{
		{"stopped", func() error { return p.Stop(ctx) }, "exit status 7"},
		{"killed", p.Kill, "signal: killed"},
		{"killed while paused", func() error { return errors.Join(p.Pause(), p.Kill()) }, "signal: killed"},
		{"stopped while paused", func() error { return errors.Join(p.Pause(), p.Stop(ctx)) }, "exit status 7"},
		{"killed by somebody", func() error { return syscall.Kill(p.Pid(), syscall.SIGKILL) }, "signal: killed"},
	} {
		if !p.Alive() {
			t.Fatalf("before it is %s it does not run", tt.name)
		}
		group := p.Pid()
		if err := tt.end(); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(ctx); err == nil || err.Error() != tt.want {
			t.Errorf("%s: ended with %v, want %s", tt.name, err, tt.want)
		}
		<-p.Done()
		if p.Alive() {
			t.Errorf("%s: it is alive", tt.name)
		}
		eventually(t, "its child is left", func() bool { return syscall.Kill(-group, 0) == syscall.ESRCH })
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(c.Log)
	if err != nil || strings.Count(string(log), "ready\n") != 6 || strings.Count(string(log), "stopped\n") != 2 {
		t.Errorf("got log %q (%v), want that of six lives, of which two were stopped", log, err)
	}
}

func TestProcessProbe(t *testing.T) {
	t.Parallel()
	asked := 0
	c := childCommand()
	c.Probe = func(context.Context) error {
		if asked++; asked < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	startProcess(t, c)
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
}

func TestProcessWait(t *testing.T) {
	t.Parallel()
	p := startProcess(t, childCommand())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want deadline exceeded", err)
	}
}

func TestProcessFailsToStart(t *testing.T) {
	temp := ownTemp(t)
	for _, tt := range []struct {
		name, want string
		command    chaos.Command
	}{
		{"nothing to run", "Args", chaos.Command{}},
		{"no such program", "not found", chaos.Command{Args: []string{"no-such-program"}}},
		{"ends before it is ready", "no luck", chaos.Command{Args: []string{"sh", "-c", "echo no luck; exit 3"}, Line: "ready"}},
		{"never ready", `has not printed "ready"`, chaos.Command{Args: []string{"sleep", "60"}, Line: "ready"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := chaos.StartProcess(ctx, tt.command); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	wantEmpty(t, temp)
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// slow is a kind of service that only these tests have: wait answers after so many milliseconds, whatever happens meanwhile.
type slow struct{}

func (*slow) Check() error      { return nil }
func (*slow) Methods() []string { return []string{"wait"} }

func (*slow) Serve(s *server.Server, log *slog.Logger) (func(), error) {
	server.Handle(s, wait(s.Service()), func(_ context.Context, ms int) (int, error) {
		log.Debug("begun", "ms", ms)
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return os.Getpid(), nil
	})
	return func() {}, nil
}

func wait(service string) rpc.Method[int, int] {
	return rpc.Method[int, int]{Service: service, Name: "wait"}
}

// served is a process of rabbitrpc serve.
type served struct {
	t    *testing.T
	cmd  *exec.Cmd
	said watched
	done chan struct{}
	err  error // to read after done
}

func startServe(t *testing.T, broker, config string) *served {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	p := &served{t: t, cmd: exec.Command(self, "serve", "--config", config), done: make(chan struct{})}
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "RABBITRPC_") }) // of tests
	p.cmd.Env = append(own, asCommand+"=yes", "RABBITMQ_URL="+broker, "GORACE=atexit_sleep_ms=0")
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	must(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Log(p.said.String())
		}
	})
	p.says("^serving ")
	return p
}

func (p *served) says(pattern string) {
	p.t.Helper()
	select {
	case <-p.said.watch(regexp.MustCompile("(?m)" + pattern)):
	case <-p.done:
		p.t.Fatalf("it ended: %v", p.err)
	case <-time.After(patience):
		p.t.Fatalf("it did not say %s", pattern)
	}
}

func (p *served) signal(s syscall.Signal) {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(s))
}

// ended waits for the end, and returns how long it took.
func (p *served) ended() time.Duration {
	p.t.Helper()
	start := time.Now()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("it runs still")
	}
	return time.Since(start)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCaller(t *testing.T, service string) *client.Client {
	t.Helper()
	m, err := conn.Open(t.Context(), testbroker.URL(t), conn.WithLogger(slog.New(slog.DiscardHandler)))
	must(t, err)
	c, err := client.New(m)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if s, err := m.Session(ctx); err == nil {
			_ = s.DeleteQueue(ctx, "rabbitrpc."+service)
		}
		_ = c.Close(ctx)
		_ = m.Close(ctx)
	})
	return c
}

func writeConfig(t *testing.T, path, format string, args ...any) {
	t.Helper()
	must(t, os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600))
}

// TestServeUnderLoad: processes are told to end, one after the other, and to read their configuration again, while 16 callers
// never pause. No call fails.
func TestServeUnderLoad(t *testing.T) {
	const service, drain = "serve-load", 5 * time.Second
	c := newCaller(t, service)
	path := filepath.Join(t.TempDir(), "c.yaml")
	const text = "services: [{name: %s, kind: slow, workers: %d, drain: %v}]"
	writeConfig(t, path, text, service, 8, drain)
	var calls, errs atomic.Int64
	var callers sync.WaitGroup
	over := make(chan struct{})
	old := startServe(t, testbroker.URL(t), path)
	for range 16 {
		callers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if _, err := client.Call(t.Context(), c, wait(service), 10); err != nil && errs.Add(1) < 5 {
					t.Error(err)
				}
				calls.Add(1)
			}
		})
	}
	rounds := 2
	if os.Getenv("RABBITRPC_LONG") != "" {
		rounds = 50
	}
	for i := range rounds {
		next := startServe(t, testbroker.URL(t), path)
		writeConfig(t, path, text, service, 9+i, drain)
		next.signal(syscall.SIGHUP)
		next.says(fmt.Sprintf(`"key":"services.serve-load.workers","from":"%d","to":"%d","when":"now"`, 8+i, 9+i))
		next.says(`"msg":"configuration read"`)
		old.signal(syscall.SIGTERM)
		if took := old.ended(); old.err != nil || took > drain {
			t.Errorf("a process that was to drain ended after %v: %v", took, old.err)
		}
		before := calls.Load()
		for deadline := time.Now().Add(patience); calls.Load() < before+100 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		old = next
	}
	close(over)
	callers.Wait()
	if calls.Load() < int64(rounds)*100 {
		t.Errorf("%d calls were made, want %d", calls.Load(), rounds*100)
	}
}

// TestSecondSignal: the first one lets a call go on, the second does not.
func TestSecondSignal(t *testing.T) {
	const service = "serve-second"
	c := newCaller(t, service)
	path := filepath.Join(t.TempDir(), "c.yaml")
	writeConfig(t, path, "log: {level: debug}\nservices: [{name: %s, kind: slow, drain: 1h}]", service)
	p := startServe(t, testbroker.URL(t), path)
	ctx, cancel := context.WithCancel(t.Context())
	var long sync.WaitGroup
	long.Go(func() { _, _ = client.Call(ctx, c, wait(service), 60_000) })
	p.says(`"begun","ms":60000`)
	short := make(chan error)
	go func() { _, err := client.Call(ctx, c, wait(service), 300); short <- err }()
	p.says(`"begun","ms":300`)
	p.signal(syscall.SIGTERM)
	p.says(`"msg":"draining"`)
	if err := <-short; err != nil {
		t.Errorf("a call that had the time to end: %v", err)
	}
	p.signal(syscall.SIGTERM)
	took := p.ended()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("got %v, want that the second signal has killed it", p.err)
	}
	if took > 5*time.Second {
		t.Errorf("it took %v after the second signal", took)
	}
	cancel()
	long.Wait()
}

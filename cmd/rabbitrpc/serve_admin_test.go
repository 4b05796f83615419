package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/daemon"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A holder is a kind of service whose method hold is answered when the channel is closed.
type holder struct {
	held    chan struct{} // gets one for each call
	release chan struct{}
}

func (h *holder) Check() error      { return nil }
func (h *holder) Methods() []string { return []string{"hold"} }
func (h *holder) Serve(s *server.Server, _ *slog.Logger) (func(), error) {
	s.Handle("hold", func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		h.held <- struct{}{}
		<-h.release
		return &rpc.Reply{}, nil
	})
	return func() {}, nil
}

// A probed daemon serves the service ready, and answers probes.
type probed struct {
	t    *testing.T
	addr string
	stop context.CancelFunc
	done chan error
}

func serveProbed(t *testing.T, broker string, h *holder) *probed {
	t.Helper()
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "broker: {url: '" + broker + "'}\nadmin: {listen: '" + addr + "'}\nservices: [{name: ready, kind: holder}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Input{File: file, Kinds: config.Kinds{"holder": func() config.Kind { return h }}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &probed{t: t, addr: addr, stop: stop, done: make(chan error, 1)}
	go func() {
		p.done <- run(ctx, daemon.Options{Config: c, Log: slog.New(slog.DiscardHandler), Ready: func(string) {}})
		close(p.done)
	}()
	t.Cleanup(func() { stop(); <-p.done })
	p.ready()
	return p
}

func (p *probed) ask() (status int, text string) {
	res, err := http.Get("http://" + p.addr + "/readyz?verbose")
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Error(err)
	}
	return res.StatusCode, string(body)
}

// until asks until the answer has a status and is of a pattern: each check sees a change on its own, so that the first answer
// after it may know half of it.
func (p *probed) until(status int, pattern string, within time.Duration) {
	p.t.Helper()
	want := regexp.MustCompile(pattern)
	start := time.Now()
	for {
		got, text := p.ask()
		if took := time.Since(start); got == status && want.MatchString(text) {
			p.t.Logf("%d after %v", got, took.Round(time.Millisecond))
			return
		} else if took > within {
			p.t.Fatalf("after %v it is answered %d, want %d and %s:\n%s", took, got, status, want, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *probed) ready() {
	p.t.Helper()
	p.until(http.StatusOK, `(?m)^\[\+\]service ready ok for \ds: serving$`, 30*time.Second)
}

// lost checks that a process says that it is not ready since it has no connection.
func (p *probed) lost(within time.Duration) {
	p.t.Helper()
	p.until(http.StatusServiceUnavailable,
		`(?m)^\[-\]broker failed for \ds: connecting: .*\n\[-\]service ready failed for \ds: waiting`, within)
}

func TestReadyIsTrue(t *testing.T) {
	h := &holder{held: make(chan struct{}, 1), release: make(chan struct{})}
	broker, err := chaos.NewProxy(testbroker.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	p := serveProbed(t, broker.URL(), h)

	broker.Inject(chaos.Refuse{})
	broker.Inject(chaos.Reset{})
	p.lost(time.Second)
	broker.Heal()
	p.ready()

	ctx := t.Context()
	m, err := conn.Open(ctx, testbroker.URL(t), conn.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(ctx)
	c, err := client.New(m)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	called := make(chan error, 1)
	go func() {
		_, err := c.Do(ctx, &rpc.Request{Service: "ready", Method: "hold"})
		called <- err
	}()
	<-h.held
	p.stop()
	p.until(http.StatusServiceUnavailable, `(?m)^\[-\]service ready failed for \ds: draining$`, time.Second)
	close(h.release)
	if err := errors.Join(<-called, <-p.done); err != nil {
		t.Error(err)
	}
	if status, _ := p.ask(); status != 0 {
		t.Error("it answers probes after its end")
	}
}

// TestReadyWithoutBroker ends a broker, and freezes it. A dead one is noticed at once; a frozen one when a heartbeat is missed,
// and until then nobody can know.
func TestReadyWithoutBroker(t *testing.T) {
	if os.Getenv("RABBITRPC_LONG") == "" {
		t.Skip("takes a quarter of a minute: set RABBITRPC_LONG")
	}
	node := testbroker.OwnNode(t)
	p := serveProbed(t, node.URL()+"?heartbeat=2", &holder{})

	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	p.lost(time.Second)
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.ready()

	start := time.Now()
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	p.lost(3*time.Second + time.Second) // 1.5 heartbeats
	if took := time.Since(start); took < time.Second {
		t.Errorf("a frozen broker was noticed after %v: was it frozen?", took)
	}
	if err := node.Resume(); err != nil {
		t.Fatal(err)
	}
	p.ready()
}

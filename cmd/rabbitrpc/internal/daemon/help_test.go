package daemon_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/daemon"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/internal/testlog"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) { testbroker.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// worker is a kind of service for tests: work takes a while, and answers with what the configuration says; hang takes no
// notice of anything until it is let go.
type worker struct {
	Answer string        `koanf:"answer"`
	Takes  time.Duration `koanf:"takes"`
	Slow   time.Duration `koanf:"slow"` // to close, it says

	release chan struct{}
	open    *atomic.Int64 // those that were served and not closed
}

func (w *worker) Check() error      { return nil }
func (w *worker) Methods() []string { return []string{"work"} }

func (w *worker) Closing() time.Duration { return w.Slow }

func (w *worker) Serve(s *server.Server, _ *slog.Logger) (func(), error) {
	w.open.Add(1)
	s.Handle("work", func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
		time.Sleep(w.Takes)
		return &rpc.Reply{ContentType: rpc.ContentTypeText, Body: []byte(w.Answer)}, nil
	})
	s.Handle("hang", func(context.Context, *rpc.Request) (*rpc.Reply, error) {
		<-w.release
		return &rpc.Reply{}, nil
	})
	return func() { w.open.Add(-1) }, nil
}

// rig is a daemon that a test runs.
type rig struct {
	t       *testing.T
	url     string // of the broker
	path    string // of its configuration
	daemon  *daemon.Daemon
	stop    context.CancelFunc
	done    chan error
	hup     chan os.Signal
	ready   chan string
	level   atomic.Pointer[string]
	log     logs
	release chan struct{}
	open    atomic.Int64
}

func (r *rig) write(text string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.path, []byte(text), 0o600))
}

func (r *rig) load() (*config.Loaded, error) {
	return config.Load(config.Input{
		File:    r.path,
		Environ: []string{"RABBITMQ_URL=" + r.url},
		Kinds: config.Kinds{"worker": func() config.Kind {
			return &worker{release: r.release, open: &r.open}
		}},
	})
}

// start runs a daemon for the shared broker until the test ends. The services in text are to be the test's own.
func start(t *testing.T, text string) *rig {
	t.Helper()
	return startAt(t, testbroker.URL(t), text)
}

func startAt(t *testing.T, url, text string) *rig {
	t.Helper()
	r := &rig{
		t: t, url: url, path: filepath.Join(t.TempDir(), "c.yaml"), done: make(chan error, 1), hup: make(chan os.Signal, 1),
		ready: make(chan string, 1), release: make(chan struct{}),
	}
	r.write(text)
	c, err := r.load()
	must(t, err)
	r.daemon = daemon.New(daemon.Options{
		Config: c, Reload: r.load, Reloads: r.hup, Ready: func(addr string) { r.ready <- addr },
		SetLevel: func(l string) { r.level.Store(&l) }, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	over := make(chan struct{})
	go func() { defer close(over); r.done <- r.daemon.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-over
		if n := r.open.Load(); n != 0 {
			t.Errorf("%d sections were not closed", n)
		}
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

// up is start, until it is ready.
func up(t *testing.T, text string) *rig {
	t.Helper()
	r := start(t, text)
	r.waitReady()
	return r
}

func (r *rig) waitReady() {
	r.t.Helper()
	select {
	case <-r.ready:
	case err := <-r.done:
		r.t.Fatalf("it has ended: %v", err)
	case <-time.After(patience):
		r.t.Fatal("it is not ready")
	}
}

// reload has another configuration read, and returns what was logged of it.
func (r *rig) reload(text string) string {
	r.t.Helper()
	r.write(text)
	before := len(r.log.String())
	r.hup <- syscall.SIGHUP
	r.until("the configuration is read", func() bool {
		return strings.Contains(r.log.String()[before:], "configuration read") || strings.Contains(r.log.String()[before:], "stays in force")
	})
	return r.log.String()[before:]
}

func (r *rig) until(what string, f func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %v: %s\n%s", patience, what, r.log.String())
		}
	}
}

// ended waits for the end.
func (r *rig) ended() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(patience):
		r.t.Fatal("it runs still")
		return nil
	}
}

// caller makes a client of the shared broker, and removes the queues of the services in the end.
func caller(t *testing.T, services ...string) *client.Client {
	t.Helper()
	m, err := conn.Open(t.Context(), testbroker.URL(t), conn.WithLogger(slog.New(slog.DiscardHandler)))
	must(t, err)
	c, err := client.New(m)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if s, err := m.Session(ctx); err == nil {
			for _, name := range services {
				_ = s.DeleteQueue(ctx, "rabbitrpc."+name)
			}
		}
		_ = c.Close(ctx)
		_ = m.Close(ctx)
	})
	return c
}

func call(t *testing.T, c *client.Client, service, method, id string) (string, bool, error) {
	t.Helper()
	ctx := t.Context()
	if id != "" {
		ctx = client.With(ctx, client.WithCallID(id))
	}
	if method == "hang" { // for as long as the test takes on a busy machine
		ctx = client.With(ctx, client.WithTimeout(time.Minute))
	}
	reply, err := c.Do(ctx, &rpc.Request{Service: service, Method: method, ContentType: rpc.ContentTypeText})
	if err != nil {
		return "", false, err
	}
	return string(reply.Body), reply.Replayed, nil
}

type logs = testlog.Log

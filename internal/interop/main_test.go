// Package interop_test checks that peers which know nothing of this project can call its servers and be called by its
// clients: here, those that use Pika, the Python client that RabbitMQ's tutorial teaches.
package interop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

func TestMain(m *testing.M) { testbroker.Main(m) }

const patience = time.Minute // for what takes milliseconds, or a second to start

// python finds a Python with Pika, once for all tests. The first on PATH may be one that the system's packages are not
// for.
var python = sync.OnceValues(func() (string, error) {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import pika").Run() == nil {
			return name, nil
		}
	}
	return "", errors.New("no python3 that can import pika: run scripts/install python3-pika, or install it")
})

// script makes a command of a Python script in testdata.
func script(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	p, err := python()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, p, append([]string{"-B", "testdata/" + name}, args...)...)
	cmd.Stderr = t.Output()
	return cmd
}

func run(t *testing.T, cmd *exec.Cmd, in io.Reader) []byte {
	t.Helper()
	cmd.Stdin = in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return bytes.TrimSpace(out)
}

func open(t *testing.T, url string) *conn.Manager {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := conn.Open(ctx, url, conn.WithLogger(logger(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// serve serves Fibonacci numbers on queue until the test ends.
func serve(t *testing.T, queue string, opts ...server.Option) *server.Server {
	t.Helper()
	fib := rpc.Method[int, uint64]{Service: "interop", Name: "fib"}
	opts = append(opts, server.WithQueue(queue, fib.Name), server.WithLogger(logger(t)))
	s, err := server.New(open(t, testbroker.URL(t)), fib.Service, opts...)
	if err != nil {
		t.Fatal(err)
	}
	server.Handle(s, fib, func(_ context.Context, n int) (uint64, error) { return fibonacci(n), nil })
	start(t, s)
	return s
}

// start runs a server until the test ends, or stop is called.
func start(t *testing.T, s *server.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case <-time.After(patience):
		t.Fatal("server is not ready")
	}
	return stop
}

func fibonacci(n int) uint64 {
	a, b := uint64(0), uint64(1)
	for range n {
		a, b = b, a+b
	}
	return a
}

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

package interop_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// TestProtocolClient runs the client of docs/protocol.md, as it is written there: against a server, one that says no, none, and a broker
// that has never seen one.
func TestProtocolClient(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(page), "```python\n")
	program, _, _ = strings.Cut(program, "```")
	file := filepath.Join(t.TempDir(), "client.py")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := python()
	if err != nil {
		t.Fatal(err)
	}
	says := func(want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, p, "-B", file)
		cmd.Env = append(os.Environ(), "RABBITMQ_URL="+testbroker.URL(t))
		out, _ := cmd.CombinedOutput() // its exit code is that of the text
		if got := string(bytes.TrimSpace(out)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	const service = "math"
	says("unavailable: no such service, executed: no")
	stop := serveFib(t, service, func(n int) (uint64, error) { return fibonacci(n), nil })
	says("832040")
	stop()
	says("servers are absent or busy, or one died: send it again, with an expiration, if that is safe")
	stop = serveFib(t, service, func(int) (uint64, error) { return 0, rpc.Errorf(rpc.OutOfRange, "not today") })
	says("out_of_range: not today, executed: yes")
	stop()
	deleteQueue(t, "rabbitrpc."+service)
}

// serveFib serves the method fib of a service.
func serveFib(t *testing.T, service string, fib func(int) (uint64, error)) (stop func()) {
	t.Helper()
	s, err := server.New(open(t, testbroker.URL(t)), service, server.WithLogger(logger(t)))
	if err != nil {
		t.Fatal(err)
	}
	server.Handle(s, rpc.Method[int, uint64]{Service: service, Name: "fib"}, func(_ context.Context, n int) (uint64, error) { return fib(n) })
	return start(t, s)
}

package endtoend

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// Environment of a server process: this test binary, run again.
const (
	envURL     = "RABBITRPC_ENDTOEND_URL"
	envService = "RABBITRPC_ENDTOEND_SERVICE"
	envWork    = "RABBITRPC_ENDTOEND_WORK" // what a call takes
)

func TestMain(m *testing.M) {
	if os.Getenv(envURL) != "" {
		serveProcess()
		return
	}
	testbroker.Main(m)
}

// serveProcess is a server in a process of its own, until its standard input ends: with the test that started it.
func serveProcess() {
	work, err := time.ParseDuration(os.Getenv(envWork))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	m, err := conn.Open(ctx, os.Getenv(envURL), conn.WithLogger(quiet))
	if err != nil {
		panic(err)
	}
	defer m.Close(context.Background())
	s, err := server.New(m, os.Getenv(envService), server.WithLogger(quiet), server.WithWorkers(64))
	if err != nil {
		panic(err)
	}
	server.Handle(s, rpc.Method[int, int]{Service: os.Getenv(envService), Name: "double"}, func(_ context.Context, n int) (int, error) {
		time.Sleep(work)
		return 2 * n, nil
	})
	go func() {
		<-s.Ready()
		os.Stdout.WriteString("ready\n")
	}()
	if err := s.Run(ctx); err != nil {
		panic(err)
	}
}

// startProcess starts a server process and waits until it serves.
func startProcess(t *testing.T, url, service string, work time.Duration) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), envURL+"="+url, envService+"="+service, envWork+"="+work.String())
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() {
		in.Close()
		c.Process.Kill()
		c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "ready" {
		t.Fatalf("server process said %q, %v, want ready", line, err)
	}
	return c
}

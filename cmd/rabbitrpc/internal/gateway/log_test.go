package gateway_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/gateway"
)

// An exhausted listener has no files left for the first connection.
type exhausted struct {
	*pipes
	once bool
}

func (e *exhausted) Accept() (net.Conn, error) {
	if !e.once {
		e.once = true
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return e.pipes.Accept()
}

func TestLogOfAListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		g, err := gateway.New(config.DefaultGateway(), echo, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- g.Serve(ctx, &exhausted{pipes: newPipes()}) }()
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "too many open files") {
			t.Errorf("not said:\n%s", &log)
		}
		if _, after, ok := strings.Cut(log.String(), "draining"); !ok || !strings.Contains(after, "drained") {
			t.Errorf("draining and drained are not there in this order:\n%s", &log)
		}
	})
}

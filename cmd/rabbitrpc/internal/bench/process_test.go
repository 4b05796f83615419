package bench

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

func TestMain(m *testing.M) { testbroker.Main(m) }

// TestWorkerDies: what is asked of a process that is gone, or does not answer, comes to an end.
func TestWorkerDies(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		cmd  *exec.Cmd
		want func(error) bool
	}{
		{"gone", t.Context(), exec.Command("true"), func(err error) bool { return strings.Contains(err.Error(), "the process has ended") }},
		{"silent", canceled, exec.Command("sh", "-c", "cat >/dev/null"), func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := startProcess(tt.cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer p.end()
			if err := p.call(tt.ctx, "Client.Load", worker.Nothing{}, &worker.Nothing{}); err == nil || !tt.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNoProgram(t *testing.T) {
	if _, err := startProcess(exec.Command("/nowhere/rabbitrpc")); err == nil {
		t.Error("got no error")
	}
}

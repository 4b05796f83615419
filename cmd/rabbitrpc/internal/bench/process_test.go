package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

const asWorker = "RABBITRPC_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) == "" {
		testbroker.Main(m)
	}
	if err := worker.Run(context.Background(), conn.DefaultURL(), slog.New(slog.DiscardHandler)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestBrokerDies: a broker that dies in the middle ends all, long before calls that wait for its return.
func TestBrokerDies(t *testing.T) {
	broker, err := chaos.NewProxy(testbroker.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	t.Setenv(asWorker, "1") // for this program again
	for _, side := range []worker.Side{{Name: "self", Kind: worker.Own}, {Name: "raw", Kind: worker.Raw}} {
		dies := make(chan time.Time, 1)
		c := Config{
			URL: broker.URL(), Sides: []worker.Side{side}, Modes: []string{worker.Direct}, Callers: []int{4}, Sizes: []int{16},
			Rounds: 2, Duration: time.Minute,
			Worker: func() *exec.Cmd { return exec.Command(os.Args[0]) },
			Show: func(p Progress) { // the warm-up is over, and the first round begins
				if p.Done == 1 {
					time.AfterFunc(300*time.Millisecond, func() {
						broker.Inject(chaos.Refuse{})
						broker.Inject(chaos.Reset{})
						dies <- time.Now()
					})
				}
			},
		}
		report, err := Run(t.Context(), c)
		broker.Heal()
		if !errors.Is(err, worker.ErrLost) || !errors.Is(err, conn.ErrClosed) || report != nil {
			t.Errorf("%s: got %v, and %v for a report", side.Name, err, report)
		}
		if took := time.Since(<-dies); took > worker.CloseLimit+5*time.Second {
			t.Errorf("%s: took %v to end", side.Name, took)
		}
	}
}

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

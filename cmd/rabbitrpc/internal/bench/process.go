package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/bench/worker"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A process is a client or a server. It ends with this one, even if that is killed: its standard input is a pipe that only
// this process holds open.
type process struct {
	cmd  *exec.Cmd
	ask  *rpc.Client
	pipe io.Closer
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, jsonrpc.NewClient(pipes{stdout, stdin}), stdin}, nil
}

type pipes struct {
	io.Reader
	io.WriteCloser
}

// A lostError is [worker.ErrLost] of a process. To other packages it is the end of a session.
type lostError struct{ rpc.ServerError }

func (lostError) Is(target error) bool { return target == worker.ErrLost || target == conn.ErrClosed }

// call asks the process for something, and waits for its answer, until ctx ends. An error of the process is what it says.
func (p *process) call(ctx context.Context, method string, args, answer any) error {
	call := p.ask.Go(method, args, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		var said rpc.ServerError
		if call.Error != nil && !errors.As(call.Error, &said) {
			return fmt.Errorf("%s: the process has ended: %w", method, call.Error)
		}
		if strings.HasPrefix(string(said), worker.ErrLost.Error()) {
			return lostError{said}
		}
		return call.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends the process, at once if it does not come to its end by itself, and waits until it is gone.
func (p *process) end() {
	p.pipe.Close()
	late := time.AfterFunc(worker.CloseLimit, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	p.cmd.Wait() // how it ended does not matter any more
}

package bench

import (
	"context"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"time"
)

// closeLimit is how long the processes may take to end in good order.
const closeLimit = 5 * time.Second

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

// call asks the process for something, and waits for its answer, until ctx ends.
func (p *process) call(ctx context.Context, method string, args, answer any) error {
	call := p.ask.Go(method, args, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("%s: %w", method, call.Error)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends the process, at once if it does not come to its end by itself, and waits until it is gone.
func (p *process) end() {
	p.pipe.Close()
	late := time.AfterFunc(closeLimit, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	p.cmd.Wait() // how it ended does not matter any more
}

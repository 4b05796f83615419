package chaos

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// A Command says what a [Process] runs, and when it is ready: when both Line and Probe say so, of those that are set.
type Command struct {
	Args []string // the program and its arguments
	Env  []string // additions to this process's environment, such as "RABBITRPC_FAILPOINTS=entered=kill@3"
	Dir  string   // where it runs; this process's own if empty
	Log  string   // a file, to which all that it prints is appended; if empty, one that Close removes

	Line  string                      // that it prints when it is ready, on standard output or standard error
	Probe func(context.Context) error // returns nil when it is ready; asked every 20 ms
}

// A Process is a command of the user's, such as a server under test, that dies and lives again as its test says. It has no
// standard input.
//
// It is a process group. None of that is left running after Close, nor when this process panics, exits or is killed without
// it.
type Process struct{ daemon }

// StartProcess starts a command, and waits until it is ready. If it ends before that, or fails to start, the error shows the
// end of its log.
func StartProcess(ctx context.Context, c Command) (*Process, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("start process: there is no program in Args")
	}
	program, err := exec.LookPath(c.Args[0])
	if err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	dir := cmp.Or(c.Dir, ".")
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	g, err := startGuard(nil)
	if err != nil {
		return nil, err
	}
	p := new(Process)
	p.title, p.guard, p.end, p.log = filepath.Base(program), g, terminate, c.Log
	p.command = func() *exec.Cmd {
		cmd := g.command(slices.Concat(os.Environ(), c.Env), program, c.Args[1:]...)
		cmd.Dir = dir
		return cmd
	}
	p.probe = func(ctx context.Context, life *process) error { return p.ready(ctx, c, life) }
	if err := p.Start(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Process) ready(ctx context.Context, c Command, life *process) error {
	if c.Line != "" {
		switch printed, err := prints(p.Log(), life.logOffset, c.Line); {
		case err != nil:
			return err
		case !printed:
			return fmt.Errorf("it has not printed %q", c.Line)
		}
	}
	if c.Probe != nil {
		return c.Probe(ctx)
	}
	return nil
}

// prints reports whether the log has the line, from the offset on.
func prints(log string, offset int64, line string) (bool, error) {
	f, err := os.Open(log)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, offset, 1<<30))
	return bytes.Contains(append([]byte("\n"), b...), []byte("\n"+line+"\n")), err
}

// Pid returns the number of the process, or of the last that there was.
func (p *Process) Pid() int { return p.life().cmd.Process.Pid }

// Done returns a channel that is closed when the process ends, however that comes about. The next Start makes another.
func (p *Process) Done() <-chan struct{} { return p.life().done }

// Alive reports whether the process runs, or is paused.
func (p *Process) Alive() bool { return p.life().alive() }

// Wait waits for the end of the process, and returns how it ended: nil for exit code 0, else an *exec.ExitError, unless ctx
// ends before.
func (p *Process) Wait(ctx context.Context) error {
	life := p.life()
	select {
	case <-life.done:
		return life.err
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.title, context.Cause(ctx))
	}
}

// life returns the latest: there is one, or StartProcess would have failed.
func (p *Process) life() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

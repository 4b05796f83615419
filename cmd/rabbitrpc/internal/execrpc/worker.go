package execrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A worker is a program that answers one request after the other, until something about it is not as it should be.
type worker struct {
	group *group
	stdin io.WriteCloser
	lines *lines
	said  *complaints
	asked uint64 // requests so far
}

func (u *Upstream) startWorker() (*worker, error) {
	cmd := exec.Command(u.cfg.Command[0], u.cfg.Command[1:]...)
	cmd.Dir = u.cfg.Dir
	cmd.Env = u.env
	if cmd.Env == nil {
		cmd.Env = []string{} // nil is all of this process's
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	w := &worker{
		stdin: stdin,
		lines: newLines(2*u.cfg.MaxReply + 64<<10), // escapes and base64 make more of a reply
		said:  &complaints{log: u.log},
	}
	cmd.Stdout, cmd.Stderr = w.lines, w.said
	if w.group, err = startGroup(cmd); err != nil {
		return nil, err
	}
	return w, nil
}

// stop ends the worker, and returns when it has ended. One that ends with its input does so before the grace is over.
func (w *worker) stop(grace time.Duration) {
	close(w.lines.quit)
	w.stdin.Close()
	w.group.stop(grace)
	w.said.end()
}

// idle waits for work, and returns it; else why the worker can have none any more. A worker that is not asked has nothing to say.
func (w *worker) idle(ctx context.Context, jobs <-chan *job) (*job, error) {
	select { // these outrank a job
	case <-w.group.done:
		return nil, w.ended()
	case <-w.lines.next:
		return nil, errUnasked
	default:
	}
	select {
	case j := <-jobs:
		return j, nil
	case <-w.group.done:
		return nil, w.ended()
	case <-w.lines.next:
		return nil, errUnasked
	case <-w.lines.long:
		return nil, errLong
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var (
	errLong    = errors.New("it wrote a line that is too long")
	errUnasked = errors.New("it wrote a line without being asked")
)

func (w *worker) ended() error {
	if w.group.err == nil {
		return errors.New("it ended with exit code 0")
	}
	return fmt.Errorf("it ended: %w", w.group.err)
}

// exchange asks the worker, and returns its answer, reply or err. Broken says why it is to have no more work.
func (w *worker) exchange(ctx context.Context, u *Upstream, r *rpc.Request) (reply *rpc.Reply, err error, broken error) {
	if ctx.Err() != nil {
		return nil, notStarted(ctx.Err()), nil
	}
	w.asked++
	q, err := ask(ctx, w.asked, r)
	if err != nil {
		return nil, rpc.Errorf(rpc.Internal, "request cannot be passed on").WithCause(err).WithExecuted(rpc.ExecutedNo), nil
	}
	line, broken := w.line(ctx, q)
	if broken == nil {
		if reply, err, broken = read(line, w.asked, u.cfg.ReplyType, u.cfg.MaxReply); broken == nil {
			return reply, err, nil
		}
	}
	switch {
	case errors.Is(broken, errUnread):
		return nil, rpc.Errorf(rpc.Unavailable, "worker ended before it read the request").WithExecuted(rpc.ExecutedNo), broken
	case ctx.Err() != nil && errors.Is(broken, ctx.Err()):
		return nil, stopped(ctx.Err()), broken
	}
	return nil, inDoubt(rpc.Internal, "worker failed before it answered"), broken
}

// errUnread is of a worker that ended before any part of the request got to it.
var errUnread = errors.New("it ended before it was asked")

// line writes a question, and returns the line that the worker writes then.
func (w *worker) line(ctx context.Context, q []byte) (line []byte, broken error) {
	wrote := make(chan error, 1)
	go func() { // ends when the worker has read it, or has ended
		n, err := w.stdin.Write(q)
		if n == 0 && errors.Is(err, syscall.EPIPE) {
			err = errUnread
		}
		wrote <- err
	}()
	next := w.lines.next
	for wrote != nil || line == nil {
		select {
		case err := <-wrote:
			if wrote = nil; err != nil {
				return nil, err
			}
		case line = <-next:
			next = nil // if it has not read all of the question it is not done
		case <-w.group.done:
			return nil, w.ended()
		case <-w.lines.long:
			return nil, errLong
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return line, nil
}

package execrpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// A worker is a program that answers one request after the other, until something about it is not as it should be.
type worker struct {
	group *group
	stdin *os.File // a pipe, whose other end the worker alone has
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
	theirs, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	w := &worker{
		stdin: stdin,
		lines: newLines(2*u.cfg.MaxReply + 64<<10), // escapes and base64 make more of a reply
		said:  &complaints{log: u.log},
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, w.lines, w.said
	if w.group, err = startGroup(cmd); err != nil {
		stdin.Close()
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
	errLate    = errors.New("it did not answer in time")
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
	case errors.Is(broken, context.DeadlineExceeded):
		return nil, stopped(broken), errLate
	case ctx.Err() != nil && errors.Is(broken, ctx.Err()):
		return nil, stopped(broken), broken
	}
	return nil, inDoubt(rpc.Internal, "worker failed before it answered"), broken
}

// errUnread is of a worker that can read no more, and has read nothing of the request.
var errUnread = errors.New("it ended before it was asked")

// A writing is what has become of a question.
type writing struct {
	n   int // bytes of it that are in the pipe
	err error
}

// line writes a question, and returns the line that the worker writes then.
func (w *worker) line(ctx context.Context, q []byte) (line []byte, broken error) {
	wrote := make(chan writing, 1)
	go func() { // ends when the pipe has it, with the readers of the pipe, or with stdin
		n, err := w.stdin.Write(q)
		wrote <- writing{n, err}
	}()
	next := w.lines.next
	for written := false; !written || line == nil; {
		select {
		case got := <-wrote:
			if got.err != nil {
				return nil, w.unless(got.n, got.err)
			}
			written = true
		case line = <-next:
			next = nil // if it has not read all of the question it is not done
		case <-w.group.done:
			got := writing{n: len(q)}
			if !written {
				w.stdin.SetWriteDeadline(time.Now()) // who has left the group may keep the pipe open, and full
				got = <-wrote
			}
			if got.err != nil || line == nil {
				return nil, w.unless(got.n, w.ended())
			}
			written = true
		case <-w.lines.long:
			return nil, errLong
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return line, nil
}

// unless returns errUnread if that is certain of a question of which n bytes were written, else err.
func (w *worker) unless(n int, err error) error {
	if n == 0 || unread(w.stdin, n) {
		return errUnread
	}
	return err
}

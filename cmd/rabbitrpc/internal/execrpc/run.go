package execrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// run answers a call with a program of its own.
func (u *Upstream) run(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	if ctx.Err() != nil {
		return nil, notStarted(ctx.Err())
	}
	env, err := ofCall(ctx, r)
	if err != nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "%w", err).WithExecuted(rpc.ExecutedNo)
	}
	cmd := exec.Command(u.cfg.Command[0])
	for _, arg := range u.cfg.Command[1:] {
		cmd.Args = append(cmd.Args, strings.ReplaceAll(arg, "{method}", r.Method))
	}
	cmd.Dir = u.cfg.Dir
	cmd.Env = append(u.env[:len(u.env):len(u.env)], env...)
	cmd.Stdin = bytes.NewReader(r.Body) // os/exec forgives a program that does not read it
	tooMuch := make(chan struct{})
	stdout := &bounded{limit: u.cfg.MaxReply, onOver: func() { close(tooMuch) }}
	stderr := &said{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	g, err := startGroup(cmd)
	if err != nil {
		return nil, u.cannotStart(r, err)
	}
	select {
	case <-g.done:
	case <-tooMuch:
		g.stop(u.cfg.Grace)
	case <-ctx.Done():
		select {
		case <-g.done: // it has answered all the same
		default:
			g.stop(u.cfg.Grace)
			return nil, u.failed(r, stopped(ctx.Err()), stderr)
		}
	}
	if stdout.over {
		return nil, u.failed(r, tooLong(u.cfg.MaxReply), stderr)
	}
	return u.outcome(r, g, stdout, stderr)
}

// outcome tells what a program that ended by itself has answered.
func (u *Upstream) outcome(r *rpc.Request, g *group, stdout *bounded, stderr *said) (*rpc.Reply, error) {
	state := g.cmd.ProcessState
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return nil, u.failed(r, inDoubt(rpc.Internal, "program was ended by a signal: %v", status.Signal()), stderr)
	}
	if code := state.ExitCode(); code != 0 {
		e, deliberate := ofExit(code, stderr)
		if deliberate {
			return nil, e
		}
		return nil, u.failed(r, e, stderr)
	}
	if g.err != nil && !errors.Is(g.err, exec.ErrWaitDelay) {
		return nil, u.failed(r, inDoubt(rpc.Internal, "the program's reply cannot be read"), stderr)
	}
	reply := &rpc.Reply{ContentType: u.cfg.ReplyType, Body: stdout.kept.Bytes()}
	if err := tidy(reply); err != nil {
		return nil, u.failed(r, err, stderr)
	}
	return reply, nil
}

// tidy makes a reply of what a program has written: JSON must be JSON, and nothing is null; at the end of a text there is a
// newline too many.
func tidy(reply *rpc.Reply) *rpc.Error {
	switch codec, err := rpc.CodecFor(reply.ContentType); {
	case err != nil: // a type that this module need not know
	case codec.ContentType() == rpc.ContentTypeJSON:
		if reply.Body = bytes.TrimSpace(reply.Body); len(reply.Body) == 0 {
			reply.Body = []byte("null")
		}
		if !json.Valid(reply.Body) {
			return rpc.Errorf(rpc.Internal, "the program's reply is not JSON: reply_type says what it is")
		}
	case codec.ContentType() == rpc.ContentTypeText:
		reply.Body = bytes.TrimSuffix(bytes.TrimSuffix(reply.Body, []byte("\n")), []byte("\r"))
	}
	return nil
}

// failed logs what goes with an error, and must not go to the caller.
func (u *Upstream) failed(r *rpc.Request, e *rpc.Error, stderr *said) *rpc.Error {
	u.log.Warn("program failed", "method", r.Method, "call", r.ID, "err", e, "stderr", stderr.excerpt())
	return e
}

func (u *Upstream) cannotStart(r *rpc.Request, err error) *rpc.Error {
	u.log.Error("program cannot be started", "method", r.Method, "call", r.ID, "err", err)
	return rpc.Errorf(rpc.Unavailable, "program cannot be started").WithCause(err).WithExecuted(rpc.ExecutedNo)
}

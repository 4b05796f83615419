package server

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// answer takes a request from its delivery to its acknowledgement: check, run, reply, ack. The order is the argument for
// at least once: the reply is stored before it is sent, and sent before the request is acknowledged.
func (s *Server) answer(ctx context.Context, j *job) {
	if j.session.Err() != nil {
		return // the broker delivers it again, in another session
	}
	s.answering.Add(1)
	defer s.answering.Add(-1)
	s.stats.received.Add(1)
	j.waited = time.Since(j.received)
	j.stop = ctx.Done()
	failpoint.Hit("delivered")
	call := &j.call
	err := call.Decode(&j.delivery.Message, *j.source)
	j.ctx = requestContext{ctx, j}
	answerable, unknown := false, error(nil)
	if !errors.Is(err, wire.ErrNoReply) {
		answerable, unknown = s.answerable(j)
	}
	switch {
	case unknown != nil: // the session is over, or this server stops
		j.delivery.Nack(true)
		return
	case !answerable:
		s.stats.dropped.Add(1)
		s.unanswered.warn(&j.ctx, s.opts.log, "request dropped: its reply-to may not be answered", "service", s.service, "call", call.ID)
		s.ack(j)
		return
	}
	j.deadline = j.received.Add(call.Timeout)
	switch {
	case err != nil:
		s.stats.rejected.Add(1)
		e := own(err)
		s.ended(&j.ctx, j, nil, e)
		s.reply(j, s.encodeError(j, e))
	case !time.Now().Before(j.deadline):
		s.stats.expired.Add(1) // the caller has given up
		s.ack(j)
	default:
		failpoint.Hit("validated")
		s.run(j)
	}
}

// run executes the call and answers it, also if a handler ends the goroutine, as FailNow of a test does.
func (s *Server) run(j *job) {
	w := s.watch(j)
	var m *conn.Message
	defer func() {
		switch told := !w.end(); {
		case j.keep:
			j.delivery.Nack(true)
		case told:
			s.ack(j)
		default:
			s.reply(j, m)
		}
	}()
	defer func() {
		if m == nil {
			e := rpc.Errorf(rpc.Internal, "handler ended its goroutine")
			m = s.encodeError(j, e)
			s.abandoned(j, e)
		}
	}()
	m = s.execute(j)
}

// abandoned takes note of a request whose goroutine is about to end.
func (s *Server) abandoned(j *job, e *rpc.Error) {
	s.stats.panics.Add(1)
	s.stats.failed.Add(1)
	s.opts.log.ErrorContext(&j.ctx, e.Message, "service", s.service, "method", j.call.Method, "call", j.call.ID,
		"stack", string(debug.Stack()))
	s.ended(&j.ctx, j, nil, e)
}

// execute runs the call and returns the message that answers it.
func (s *Server) execute(j *job) *conn.Message {
	if j.call.Method == wire.Ping {
		return j.encode(&rpc.Reply{ContentType: rpc.ContentTypeText, Server: s.opts.name})
	}
	j.call.Redelivered = j.delivery.Redelivered
	running := j.begin()
	defer running.End()
	if j.call.Method == wire.Describe {
		return s.describe(running, j)
	}
	reply, err := s.outcome(running, &j.call.Request)
	s.ended(running, j, reply, err)
	if err != nil {
		return s.encodeError(j, err)
	}
	return j.encode(reply)
}

// outcome runs the call, if it may be, and counts what came of it.
func (s *Server) outcome(ctx context.Context, r *rpc.Request) (*rpc.Reply, *rpc.Error) {
	if denied := s.authorize(ctx, r); denied != nil {
		s.stats.rejected.Add(1)
		return nil, denied
	}
	if s.methods[r.Method] == nil {
		s.stats.rejected.Add(1)
		return nil, s.noMethod(r.Method)
	}
	s.stats.running.Add(1)
	defer s.stats.running.Add(-1)
	reply, err := s.safely(ctx, r, s.handler, "interceptor")
	if err == nil && len(reply.Body) > s.largest.get() {
		err = rpc.Errorf(rpc.ResourceExhausted, "reply has %d bytes, at most %d are allowed",
			len(reply.Body), s.largest.get()).WithExecuted(rpc.ExecutedYes)
	}
	if err != nil {
		s.stats.failed.Add(1)
		e := own(err)
		if e == nil { // of an interceptor outside of verdict
			s.opts.log.WarnContext(ctx, "interceptor failed", "service", s.service, "method", r.Method, "call", r.ID, "err", err)
			e = rpc.Errorf(rpc.Unknown, "interceptor failed")
		}
		return nil, e
	}
	s.stats.answered.Add(1)
	if reply.Replayed {
		s.stats.replayed.Add(1)
	}
	return reply, nil
}

func (j *job) encode(r *rpc.Reply) *conn.Message {
	wire.PutReply(&j.reply, &j.call, r)
	return &j.reply
}

func (s *Server) encodeError(j *job, e *rpc.Error) *conn.Message {
	if e.Executed == rpc.ExecutedNo && j.delivery.Redelivered {
		e = e.WithExecuted(rpc.ExecutedUnknown) // who had the request before may have executed it
	}
	return wire.EncodeError(&j.call, e, s.opts.name)
}

func (s *Server) ack(j *job) {
	if err := j.delivery.Ack(); err != nil && !errors.Is(err, conn.ErrClosed) {
		s.opts.log.WarnContext(&j.ctx, "request not acknowledged", "service", s.service, "call", j.delivery.CorrelationID, "err", err)
	}
	failpoint.Hit("acked")
}

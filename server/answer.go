package server

import (
	"context"
	"errors"
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
	j.stop = ctx.Done()
	failpoint.Hit("delivered")
	call, err := wire.DecodeRequest(&j.delivery.Message, *j.source)
	if errors.Is(err, wire.ErrNoReply) || !s.answerable(ctx, j, call) {
		s.stats.dropped.Add(1)
		s.unanswered.warn(s.opts.log, "request dropped: its reply-to may not be answered", "service", s.service)
		s.ack(j)
		return
	}
	deadline := j.received.Add(call.Timeout)
	var m *conn.Message
	switch {
	case err != nil:
		s.stats.rejected.Add(1)
		m = s.encodeError(j, call, err)
	case !time.Now().Before(deadline):
		s.stats.expired.Add(1) // the caller has given up
		s.ack(j)
		return
	default:
		failpoint.Hit("validated")
		o := s.watch(ctx, j, call, deadline)
		m = s.execute(ctx, j, call, deadline)
		if told := !o.end(); told && !j.keep {
			s.ack(j)
			return
		}
	}
	switch {
	case j.keep:
		j.delivery.Nack(true)
	case s.send(ctx, j, call, m):
		s.ack(j)
	case !wire.Refuses(m) && errors.Is(j.session.Err(), conn.ErrCancelled):
		s.sendLater(ctx, j, m, deadline)
	}
}

// execute runs the call and returns the message that answers it.
func (s *Server) execute(ctx context.Context, j *job, call *wire.Call, deadline time.Time) *conn.Message {
	if call.Method == wire.Ping {
		return wire.EncodeReply(call, &rpc.Reply{ContentType: rpc.ContentTypeText, Server: s.opts.name})
	}
	call.Redelivered = j.delivery.Redelivered
	ctx, cancel := context.WithDeadline(rpc.WithRequest(withJob(ctx, j), &call.Request), deadline)
	defer cancel()
	if denied := s.authorize(ctx, &call.Request); denied != nil {
		s.stats.rejected.Add(1)
		return s.encodeError(j, call, denied)
	}
	if call.Method == wire.Describe {
		return s.describe(j, call)
	}
	if s.methods[call.Method] == nil {
		s.stats.rejected.Add(1)
		return s.encodeError(j, call, s.noMethod(call.Method))
	}
	s.stats.running.Add(1)
	reply, err := s.safely(ctx, &call.Request, s.handler, "interceptor")
	s.stats.running.Add(-1)
	if err != nil {
		s.stats.failed.Add(1)
		return s.encodeError(j, call, err)
	}
	if len(reply.Body) > s.opts.limits.Reply {
		s.stats.failed.Add(1)
		return s.encodeError(j, call, rpc.Errorf(rpc.ResourceExhausted, "reply has %d bytes, at most %d are allowed",
			len(reply.Body), s.opts.limits.Reply).WithExecuted(rpc.ExecutedYes))
	}
	s.stats.answered.Add(1)
	if reply.Replayed {
		s.stats.replayed.Add(1)
	}
	return wire.EncodeReply(call, reply)
}

func (s *Server) encodeError(j *job, call *wire.Call, err error) *conn.Message {
	e := own(err)
	if e == nil { // of an interceptor outside of verdict
		s.opts.log.Warn("interceptor failed", "service", s.service, "method", call.Method, "call", call.ID, "err", err)
		e = rpc.Errorf(rpc.Unknown, "interceptor failed")
	}
	if e.Executed == rpc.ExecutedNo && j.delivery.Redelivered {
		e = e.WithExecuted(rpc.ExecutedUnknown) // who had the request before may have executed it
	}
	return wire.EncodeError(call, e, s.opts.name)
}

// send publishes the answer and reports whether the request is done with: not if the session ended before that was
// certain.
func (s *Server) send(ctx context.Context, j *job, call *wire.Call, m *conn.Message) bool {
	m.UserID = s.opts.user
	if wire.KindOfReplyTo(call.ReplyTo) == wire.ReplyDirect {
		if err := s.direct.publish(ctx, m); err != nil {
			s.stats.unroutable.Add(1)
			s.unanswered.warn(s.opts.log, "reply dropped", "service", s.service, "err", err)
		}
		return true
	}
	err := j.publishConfirmed(ctx, m)
	if errors.Is(err, conn.ErrInvalid) {
		s.opts.log.Error("reply cannot be sent", "service", s.service, "method", call.Method, "call", call.ID, "err", err)
		m = s.encodeError(j, call, rpc.Errorf(rpc.Internal, "reply cannot be sent").WithExecuted(rpc.ExecutedYes))
		m.UserID = s.opts.user
		err = j.publishConfirmed(ctx, m)
	}
	return err == nil || errors.Is(err, errUnconfirmed)
}

// sendLater sends an answer in the next session, up to the deadline. Of a session that the broker has ended by taking the
// queue away the request does not come back, as it does of others: nobody else would ever answer it.
//
// An answer that says "not executed" must not be sent: if the queue is still there, who gets the request may execute it.
func (s *Server) sendLater(ctx context.Context, j *job, m *conn.Message, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for session := j.session; ; {
		o, ok := s.outlets.next(ctx, session, s.last)
		if !ok {
			return
		}
		later := &job{session: o.session, publisher: o.publisher}
		if err := later.publish(ctx, m, nil); !errors.Is(err, conn.ErrClosed) {
			return
		}
		session = o.session
	}
}

// errUnconfirmed is of a message that the broker has neither taken for certain nor refused, in a session that lives.
var errUnconfirmed = errors.New("not confirmed by the broker in time")

// publishConfirmed publishes a message and waits until the broker has it.
//
// Replies and acknowledgements take different connections. Without the confirmation the broker may have the
// acknowledgement and, of a server that is killed now, not the reply: nobody would ever send either again.
func (j *job) publishConfirmed(ctx context.Context, m *conn.Message) error {
	confirms := make(chan bool, 1)
	if err := j.publish(ctx, m, func(ok bool) { confirms <- ok }); err != nil {
		return err
	}
	failpoint.Hit("published")
	timeout := time.NewTimer(confirmTimeout)
	defer timeout.Stop()
	select {
	case ok := <-confirms:
		failpoint.Hit("confirmed")
		if !ok {
			return errUnconfirmed
		}
		return nil
	case <-timeout.C:
		return errUnconfirmed
	case <-j.session.Done():
		return j.session.Err()
	}
}

// publish publishes a message, after the alarm if there is one.
func (j *job) publish(ctx context.Context, m *conn.Message, confirmed func(bool)) error {
	for {
		err := j.publisher.Publish(m, confirmed)
		if !errors.Is(err, conn.ErrBlocked) {
			return err
		}
		blocked := j.session.Blocked()
		if blocked == nil {
			continue // not any more
		}
		select {
		case <-blocked:
		case <-ctx.Done():
			return err
		}
	}
}

// confirmTimeout bounds what the reply to one caller may cost all others: a reply queue on a node that cannot be reached
// confirms nothing, and would keep the worker.
const confirmTimeout = 10 * time.Second

func (s *Server) ack(j *job) {
	if err := j.delivery.Ack(); err != nil && !errors.Is(err, conn.ErrClosed) {
		s.opts.log.Warn("request not acknowledged", "service", s.service, "err", err)
	}
	failpoint.Hit("acked")
}

// onReturn counts replies that found no queue: their callers are gone. A caller that comes back finds the reply in the store.
func (s *Server) onReturn(r *conn.Return) {
	if r.Key == wire.ParkedQueue(s.service) {
		s.parkedReturned.Add(1)
		return
	}
	s.stats.unroutable.Add(1)
}

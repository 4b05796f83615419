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
	j.waited = time.Since(j.received)
	j.stop = ctx.Done()
	failpoint.Hit("delivered")
	call, err := wire.DecodeRequest(&j.delivery.Message, *j.source)
	ctx = rpc.WithRequest(ctx, &call.Request) // for what is logged
	if errors.Is(err, wire.ErrNoReply) || !s.answerable(ctx, j, call) {
		s.stats.dropped.Add(1)
		s.unanswered.warn(ctx, s.opts.log, "request dropped: its reply-to may not be answered", "service", s.service, "call", call.ID)
		s.ack(ctx, j)
		return
	}
	deadline := j.received.Add(call.Timeout)
	var m *conn.Message
	switch {
	case err != nil:
		s.stats.rejected.Add(1)
		e := own(err)
		s.ended(ctx, j, call, nil, e)
		m = s.encodeError(j, call, e)
	case !time.Now().Before(deadline):
		s.stats.expired.Add(1) // the caller has given up
		s.ack(ctx, j)
		return
	default:
		failpoint.Hit("validated")
		o := s.watch(ctx, j, call, deadline)
		m = s.execute(ctx, j, call, deadline)
		if told := !o.end(); told && !j.keep {
			s.ack(ctx, j)
			return
		}
	}
	switch {
	case j.keep:
		j.delivery.Nack(true)
	case s.send(ctx, j, call, m):
		s.ack(ctx, j)
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
	ctx, cancel := context.WithDeadline(withJob(ctx, j), deadline)
	defer cancel()
	if call.Method == wire.Describe {
		return s.describe(ctx, j, call)
	}
	reply, err := s.outcome(ctx, &call.Request)
	s.ended(ctx, j, call, reply, err)
	if err != nil {
		return s.encodeError(j, call, err)
	}
	return wire.EncodeReply(call, reply)
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
	reply, err := s.safely(ctx, r, s.handler, "interceptor")
	s.stats.running.Add(-1)
	if err == nil && len(reply.Body) > s.opts.limits.Reply {
		err = rpc.Errorf(rpc.ResourceExhausted, "reply has %d bytes, at most %d are allowed",
			len(reply.Body), s.opts.limits.Reply).WithExecuted(rpc.ExecutedYes)
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

func (s *Server) encodeError(j *job, call *wire.Call, e *rpc.Error) *conn.Message {
	if e.Executed == rpc.ExecutedNo && j.delivery.Redelivered {
		e = e.WithExecuted(rpc.ExecutedUnknown) // who had the request before may have executed it
	}
	return wire.EncodeError(call, e, s.opts.name)
}

// send publishes the answer and reports whether the request is done with: not if the session ended before that was
// certain.
func (s *Server) send(ctx context.Context, j *job, call *wire.Call, m *conn.Message) bool {
	m.UserID = s.opts.user
	m.ConfirmRouted = s.opts.quorum == 0 && !j.source.Plain // see publishConfirmed
	if wire.KindOfReplyTo(call.ReplyTo) == wire.ReplyDirect {
		if err := s.direct.publish(ctx, m); err != nil {
			s.stats.unroutable.Add(1)
			s.unanswered.warn(ctx, s.opts.log, "reply dropped", "service", s.service, "call", call.ID, "err", err)
		}
		return true
	}
	err := s.publishConfirmed(ctx, j, m)
	if errors.Is(err, conn.ErrInvalid) {
		s.opts.log.ErrorContext(ctx, "reply cannot be sent", "service", s.service, "method", call.Method, "call", call.ID, "err", err)
		m = s.encodeError(j, call, rpc.Errorf(rpc.Internal, "reply cannot be sent").WithExecuted(rpc.ExecutedYes))
		m.UserID, m.ConfirmRouted = s.opts.user, s.opts.quorum == 0 && !j.source.Plain
		err = s.publishConfirmed(ctx, j, m)
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
//
// For a transient request of a classic queue it is enough that the reply was routed: what could lose it from then on loses
// the request as well, or the caller its reply queue. Of a quorum queue the request would live on, acknowledged.
func (s *Server) publishConfirmed(ctx context.Context, j *job, m *conn.Message) error {
	w := s.waits.Get().(*confirmWait)
	if err := j.publish(ctx, m, w.confirmed); err != nil {
		return err // and not used again: it may have been published all the same
	}
	failpoint.Hit("published")
	w.timeout.Reset(confirmTimeout)
	defer w.timeout.Stop()
	select {
	case ok := <-w.confirms:
		s.waits.Put(w)
		failpoint.Hit("confirmed")
		if !ok {
			return errUnconfirmed
		}
		return nil
	case <-w.timeout.C:
		return errUnconfirmed
	case <-j.session.Done():
		return j.session.Err()
	}
}

// A confirmWait is what it takes to wait for one confirmation at a time. One whose confirmation may still come is not used
// again.
type confirmWait struct {
	confirms  chan bool // buffered 1
	confirmed func(ok bool)
	timeout   *time.Timer
}

func newConfirmWait() any {
	w := &confirmWait{confirms: make(chan bool, 1), timeout: time.NewTimer(confirmTimeout)}
	w.timeout.Stop()
	w.confirmed = func(ok bool) { w.confirms <- ok }
	return w
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

func (s *Server) ack(ctx context.Context, j *job) {
	if err := j.delivery.Ack(); err != nil && !errors.Is(err, conn.ErrClosed) {
		s.opts.log.WarnContext(ctx, "request not acknowledged", "service", s.service, "call", j.delivery.CorrelationID, "err", err)
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

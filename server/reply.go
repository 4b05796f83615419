package server

import (
	"context"
	"errors"
	"sync"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// reply sends the answer, and has the request acknowledged once the broker has confirmed it: see [unconfirmed].
func (s *Server) reply(j *job, m *conn.Message) {
	if s.sendDirect(j, m, func() { s.ack(j) }) {
		return
	}
	if m, err := s.send(j, m, j.unconfirmed.publish); err != nil && resendable(j.session, m) {
		s.sendLater(j, m)
	}
}

// sendDirect sends an answer that goes to a direct reply-to, and reports whether it does. What comes after that is done once, now or soon.
func (s *Server) sendDirect(j *job, m *conn.Message, after func()) bool {
	if wire.KindOfReplyTo(j.call.ReplyTo) != wire.ReplyDirect {
		return false
	}
	m.UserID = s.opts.user
	m.Mandatory = false // up to RabbitMQ 4.1 all such replies are returned, with their bodies, and from 4.2 on none
	after = sync.OnceFunc(after)
	s.direct.publish(&j.ctx, m, len(m.Body)+len(j.delivery.Body), func(err error) {
		if err != nil {
			s.stats.unroutable.Add(1)
			s.unanswered.warn(&j.ctx, s.opts.log, "reply dropped", "service", s.service, "call", j.call.ID, "err", err)
		}
		after()
	})
	return true
}

// send publishes the answer, or, if it cannot be sent as it is, an error in its place, and returns which.
//
// For a transient request of a classic queue it is enough that the reply was routed: what could lose it from then on loses
// the request as well, or the caller its reply queue. Of a quorum queue the request would live on, acknowledged.
func (s *Server) send(j *job, m *conn.Message, publish func(context.Context, *job, *conn.Message) error) (*conn.Message, error) {
	m.UserID = s.opts.user
	m.ConfirmRouted = s.opts.quorum == 0 && !j.source.Plain
	m.ConfirmLater = s.idle(j.outlet)
	err := publish(&j.ctx, j, m)
	if !errors.Is(err, conn.ErrInvalid) {
		return m, err
	}
	s.opts.log.ErrorContext(&j.ctx, "reply cannot be sent", "service", s.service, "method", j.call.Method, "call", j.call.ID, "err", err)
	e := s.encodeError(j, rpc.Errorf(rpc.Internal, "reply cannot be sent").WithExecuted(rpc.ExecutedYes))
	e.UserID, e.ConfirmRouted, e.ConfirmLater = m.UserID, m.ConfirmRouted, m.ConfirmLater
	return e, publish(&j.ctx, j, e)
}

// idle reports whether this server has less than half of the requests that the broker may hand it, so that none waits until another is
// acknowledged.
func (s *Server) idle(o outlet) bool {
	return 2*(s.answering.Load()+o.unconfirmed.open.Load()) < int64(s.opts.workers)
}

// resendable reports whether an answer that was not sent in a session that is over is to be sent in the next. Of a session
// that the broker has ended by taking the queue away the request does not come back, as it does of others: nobody else would
// ever answer it.
//
// An answer that says "not executed" must not be sent: if the queue is still there, who gets the request may execute it.
func resendable(session conn.Session, m *conn.Message) bool {
	return errors.Is(session.Err(), conn.ErrCancelled) && !wire.Refuses(m)
}

// sendLater sends an answer in the next session, up to the deadline.
func (s *Server) sendLater(j *job, m *conn.Message) {
	ctx, cancel := context.WithDeadline(&j.ctx, j.deadline)
	defer cancel()
	for session := j.session; ; {
		o, ok := s.outlets.next(ctx, session, s.last)
		if !ok {
			return
		}
		if err := o.publish(ctx, m, nil); !errors.Is(err, conn.ErrClosed) {
			return
		}
		session = o.session
	}
}

// resend sends the answers that were not confirmed in a session that is over, where nobody else will.
func (s *Server) resend(lost []*job) {
	for _, j := range lost {
		if resendable(j.session, j.answer) {
			s.sendLater(j, j.answer)
		}
	}
}

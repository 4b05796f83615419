package server

import (
	"context"
	"crypto/rand"
	"errors"
	mrand "math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// Anybody may ask, and each question reaches all instances: what one costs must be little, and bounded.
const (
	questionRate  = 100             // a second, of 1 KiB at most; larger ones count as several
	questionBurst = 100             // that are answered at once
	questionsWait = 100             // in the queue, then the oldest go
	questionTTL   = 2 * time.Second // in the queue

	listenAgain = 30 * time.Second // that it makes sure of its bindings

	// The most that an instance waits before it listens again, at random, so that not all come back at once after the broker did.
	// It doubles with each failure.
	listenFirst = 2 * time.Second
	listenMost  = 15 * time.Second
)

// beDiscovered answers those who ask which instances there are, until ctx ends. It has sessions of its own: a message that
// the AMQP library cannot read would reach all instances at once, and end the session that meets it. Whatever fails here, the
// server goes on.
func (s *Server) beDiscovered(ctx context.Context) {
	if s.opts.hidden {
		return
	}
	for failures := 0; ctx.Err() == nil; failures = min(failures+1, 10) {
		if _, err := s.conn.Session(ctx); err != nil {
			return // ctx has ended, or the connector is closed. Before there is a session there is nobody to dial, either
		}
		if err := s.listen(ctx, func() { failures = 0 }); err != nil && ctx.Err() == nil {
			s.opts.log.Debug("not listening for questions", "service", s.service, "err", err)
		}
		sleep(ctx, mrand.N(min(listenFirst<<failures, listenMost)))
	}
}

// listen answers questions in one session, until that or ctx ends. It calls ready once it does.
func (s *Server) listen(ctx context.Context, ready func()) error {
	session, err := s.conn.Dial(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
		defer cancel()
		session.Close(closing)
	}()
	publisher, err := session.OpenPublisher(ctx, nil)
	if err != nil {
		return err
	}
	queue := wire.InstanceQueue(s.service, rand.Text()) // a name of its own: one that a session has lost may be locked for a while
	limit := rate.NewLimiter(questionRate, questionBurst)
	if err := s.hear(ctx, session, queue, func(d *conn.Delivery) {
		if limit.WaitN(ctx, min(questionBurst, 1+len(d.Body)>>10)) == nil {
			s.answerQuestion(publisher, d)
		}
		d.Ack()
	}); err != nil {
		return err
	}
	ready()
	for stays(ctx, session, listenAgain) { // a binding goes with its exchange
		if err := s.bindInstance(ctx, session, queue); err != nil {
			return err
		}
	}
	return session.Err()
}

// stays lets d pass, and reports whether the session outlives it, and ctx.
func stays(ctx context.Context, session conn.Session, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-session.Done():
	case <-ctx.Done():
	}
	return false
}

// hear makes the queue for questions, and takes them. It keeps asking a broker that refuses one of the rights for it, which may
// change, and says so once: the server serves all the same.
func (s *Server) hear(ctx context.Context, session conn.Session, queue string, question func(*conn.Delivery)) error {
	for {
		err := s.openInstance(ctx, session, queue, question)
		if !errors.Is(err, conn.ErrRefused) || session.Err() != nil {
			return err
		}
		s.unheard.Do(func() {
			s.opts.log.Warn("this instance cannot be discovered: the broker refuses it a queue for that", "service", s.service, "err", err)
		})
		if !stays(ctx, session, time.Second+mrand.N(listenMost)) {
			return err
		}
	}
}

func (s *Server) openInstance(ctx context.Context, session conn.Session, queue string, question func(*conn.Delivery)) error {
	_, err := session.DeclareQueue(ctx, conn.Queue{Name: queue, Exclusive: true, AutoDelete: true, Args: map[string]any{
		"x-max-length": int64(questionsWait), "x-message-ttl": questionTTL.Milliseconds(),
	}})
	if err != nil {
		return err
	}
	if err := s.bindInstance(ctx, session, queue); err != nil {
		return err
	}
	// One at a time: what is over the rate waits in the queue, where it is bounded and soon gone.
	_, err = session.Consume(ctx, conn.Consume{Queue: queue, Prefetch: 1, Exclusive: true, MaxBody: questionBurst << 10}, question)
	return err
}

// bindInstance binds the queue for questions. It declares the exchange only if that is not there: many servers may not.
func (s *Server) bindInstance(ctx context.Context, session conn.Session, queue string) error {
	for _, key := range []string{wire.AllKey, wire.DiscoveryKey(s.service)} {
		err := session.BindQueue(ctx, queue, wire.DiscoveryExchange, key)
		if errors.Is(err, conn.ErrNotFound) {
			if err = session.DeclareExchange(ctx, wire.QuestionExchange); err == nil {
				err = session.BindQueue(ctx, queue, wire.DiscoveryExchange, key)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// answerQuestion answers a question, if that can be done at once. Whoever gets no answer asks again.
func (s *Server) answerQuestion(p conn.Publisher, d *conn.Delivery) {
	call, err := wire.DecodeQuestion(&d.Message, s.service)
	if err != nil {
		return // all instances have it: not a word of it in as many logs
	}
	m, err := wire.EncodeAnswer(call, s.instance(call.Method))
	if err != nil {
		s.opts.log.Error("instance cannot say what it is", "service", s.service, "err", err)
		return
	}
	m.UserID, m.Mandatory, m.Persistent = s.opts.user, false, false
	p.Publish(m, nil)
}

package server

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// again is the interceptor, inside of the store's, that decides whether a call that was started before may be started
// again. What it says is recorded, and so is the answer to all duplicates.
func (s *Server) again(next rpc.Handler) rpc.Handler {
	return func(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
		if r.AtMostOnce && r.Redelivered {
			return nil, rpc.Errorf(rpc.Unavailable, "request was delivered before, and is to be executed at most once")
		}
		j := jobOf(ctx)
		starts := max(idempotency.ClaimsOf(ctx)-1, wire.DeliveryCount(&j.delivery.Message))
		if limit := s.opts.startLimit(); limit == 0 || starts < limit {
			return next(ctx, r)
		}
		if err := s.park(ctx, j, r, starts); err != nil {
			j.keep = true
			return nil, err
		}
		return nil, rpc.Errorf(rpc.Internal, "request was given up: %d servers that ran it did not live to answer it", starts)
	}
}

// parkedMost bounds a parked queue; the oldest makes room.
const parkedMost = 10_000

const parkTimeout = 5 * time.Second

// park moves a request to the service's parked queue.
func (s *Server) park(ctx context.Context, j *job, r *rpc.Request, starts int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parkTimeout)
	defer cancel()
	request := j.delivery.Message
	request.Type, request.ContentType = r.Method, r.ContentType // a plain queue's request may name neither
	err := s.publishParked(ctx, j, &request, wire.Parking{
		Reason: "whoever ran it did not live to answer it", Attempts: starts, At: time.Now(), Server: s.opts.name, User: r.User,
	})
	if err != nil {
		s.opts.log.Error("request cannot be parked", "service", s.service, "method", r.Method, "call", r.ID,
			"attempts", starts, "err", err)
		return rpc.Errorf(rpc.Unavailable, "request cannot be parked").WithCause(err).WithExecuted(rpc.ExecutedNo)
	}
	s.stats.parked.Add(1)
	s.opts.log.Error("request parked: whoever ran it did not live to answer it", "service", s.service, "method", r.Method,
		"call", r.ID, "attempts", starts, "queue", wire.ParkedQueue(s.service))
	return nil
}

func (s *Server) publishParked(ctx context.Context, j *job, request *conn.Message, p wire.Parking) error {
	args := map[string]any{"x-max-length": int64(parkedMost)}
	if s.opts.quorum > 0 {
		args["x-queue-type"] = "quorum"
	}
	queue := conn.Queue{Name: wire.ParkedQueue(s.service), Durable: true, Args: args}
	if _, err := j.session.DeclareQueue(ctx, queue); err != nil && !errors.Is(err, conn.ErrPrecondition) {
		return err // with other properties it serves as well
	}
	return j.publishConfirmed(ctx, wire.EncodeParked(request, s.service, p))
}

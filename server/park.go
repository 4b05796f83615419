package server

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	parkTimeout = 5 * time.Second  // of one try
	parkMost    = 10 * time.Minute // between two
)

// park moves a request to the service's parked queue. It does not give up before the session ends, or the server stops:
// nothing else keeps the request, and to give it back to the broker could be once too often for a quorum queue.
func (s *Server) park(ctx context.Context, j *job, r *rpc.Request, starts int) error {
	request := j.delivery.Message
	request.Type, request.ContentType = r.Method, r.ContentType // a plain queue's request may name neither
	m := wire.EncodeParked(&request, s.service, wire.Parking{
		Reason: "no server lived to answer it", Attempts: starts, At: time.Now(), Server: s.opts.name, User: r.User,
	})
	for wait := refusedWait; ; {
		err := s.publishParked(context.WithoutCancel(ctx), j, m)
		if err == nil {
			break
		}
		s.opts.log.ErrorContext(ctx, "request cannot be parked", "service", s.service, "method", r.Method, "call", r.ID,
			"attempts", starts, "err", err)
		if errors.Is(err, errUnconfirmed) { // which may be there all the same: not too many of them
			wait = min(2*wait, parkMost)
		}
		select {
		case <-time.After(wait):
			continue
		case <-j.session.Done():
		case <-j.stop:
		}
		return rpc.Errorf(rpc.Unavailable, "request cannot be parked").WithCause(err).WithExecuted(rpc.ExecutedNo)
	}
	s.stats.parked.Add(1)
	s.opts.log.ErrorContext(ctx, "request parked: no server lived to answer it", "service", s.service, "method", r.Method,
		"call", r.ID, "attempts", starts, "queue", wire.ParkedQueue(s.service))
	return nil
}

var errParkedReturned = errors.New("the parked queue is gone")

func (s *Server) publishParked(ctx context.Context, j *job, m *conn.Message) error {
	ctx, cancel := context.WithTimeout(ctx, parkTimeout)
	defer cancel()
	if err := s.declareParked(ctx, j.session); err != nil {
		return err
	}
	returned := s.parkedReturned.Load()
	if err := s.publishConfirmed(ctx, j, m); err != nil {
		return err
	}
	if s.parkedReturned.Load() != returned { // what is returned is confirmed as well, and after that
		return errParkedReturned
	}
	return nil
}

package server

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// confirmTimeout bounds what a message to one may cost all others: a queue on a node that cannot be reached confirms nothing,
// and would keep a request that is not acknowledged, or whoever waits, for ever.
const confirmTimeout = 10 * time.Second

// errUnconfirmed is of a message that the broker has neither taken for certain nor refused, in a session that lives.
var errUnconfirmed = errors.New("not confirmed by the broker in time")

// publishConfirmed publishes a message and waits until the broker has it.
func (s *Server) publishConfirmed(ctx context.Context, j *job, m *conn.Message) error {
	confirms := make(chan bool, 1)
	if err := j.publish(ctx, m, func(ok bool) { confirms <- ok }); err != nil {
		return err
	}
	timeout := time.NewTimer(confirmTimeout)
	defer timeout.Stop()
	select {
	case ok := <-confirms:
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

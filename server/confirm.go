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

var (
	// errUnconfirmed is of a message that the broker may have, in a session that lives.
	errUnconfirmed = errors.New("not confirmed by the broker in time")

	// errNack is of one that it does not have.
	errNack = errors.New("refused by the broker: the queue may be full, or without a leader")
)

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
			return errNack
		}
		return nil
	case <-timeout.C:
		return errUnconfirmed
	case <-j.session.Done():
		return j.session.Err()
	}
}

package server

import (
	"errors"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// answerable reports whether a reply-to that is an ordinary name may be answered: only if it is some connection's
// exclusive queue. Into any other a rogue caller could have this server write, with this server's rights. The broker
// tells: it locks exclusive queues for all but their owner. Those that WithReplyTo allows need not be exclusive. An error says
// that the broker could not tell.
func (s *Server) answerable(j *job) (bool, error) {
	to := j.call.ReplyTo
	if wire.KindOfReplyTo(to) != wire.ReplyNamed {
		return true, nil
	}
	if to == s.opts.queue {
		return false, nil // it would answer itself
	}
	if s.opts.replyTo != nil {
		match := s.opts.replyTo.FindStringIndex(to)
		if match != nil && match[0] == 0 && match[1] == len(to) {
			return true, nil
		}
	}
	_, err := j.session.InspectQueue(&j.ctx, to)
	if _, said := errors.AsType[*conn.Error](err); said || err == nil {
		return errors.Is(err, conn.ErrLocked), nil
	}
	return false, err
}

package server

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

const (
	unreadableFirst = time.Second // wait before the session after the second in a row that met it; it doubles
	unreadableMost  = 30 * time.Second
)

// unreadable waits if a session ended because of a message that the AMQP library cannot read: it ends the connection
// before this server sees it, the broker puts it back, and the next connection meets it again. Nothing here can get rid of
// it: so it is said, and the broker not stormed with connections meanwhile.
func (s *Server) unreadable(ctx context.Context, err error) {
	if !errors.Is(err, conn.ErrUnreadable) {
		s.struck = 0
		return
	}
	var wait time.Duration
	if s.struck++; s.struck > 1 {
		wait = min(unreadableFirst<<min(s.struck-2, 10), unreadableMost)
	}
	s.opts.log.Error("the queue holds a message that cannot be read, and ends each connection that meets it; "+
		"purge the queue, or serve a quorum queue, which gives up such a message",
		"service", s.service, "times", s.struck, "err", err, "retry", wait)
	sleep(ctx, wait)
}

package server

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// misnamedWait is how long a server does not serve that answers in the name of somebody else.
const misnamedWait = 30 * time.Second

// misnamed waits if a session ended because of [WithUser]: it names another user than the one who has logged in. Each reply would cost one more
// session, with the calls of all who share it; and no caller learns more than from a server that is not there.
func (s *Server) misnamed(ctx context.Context, err error) {
	if !errors.Is(err, conn.ErrPrecondition) || !wire.RefusesUser(err.Error(), s.opts.user) {
		return
	}
	s.opts.log.Error("cannot serve: this server is to answer as a user that it has not logged in as; correct server.WithUser, or the login",
		"service", s.service, "err", err, "retry", misnamedWait)
	sleep(ctx, misnamedWait)
}

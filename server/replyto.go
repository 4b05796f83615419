package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

// answerable reports whether a reply-to that is an ordinary name may be answered: only if it is some connection's
// exclusive queue. Into any other a rogue caller could have this server write, with this server's rights. The broker
// tells: it locks exclusive queues for all but their owner.
func (s *Server) answerable(ctx context.Context, j *job, call *wire.Call) bool {
	if wire.KindOfReplyTo(call.ReplyTo) != wire.ReplyNamed {
		return true
	}
	_, err := j.session.InspectQueue(ctx, call.ReplyTo)
	return errors.Is(err, conn.ErrLocked)
}

// direct publishes replies to direct reply-to addresses, in a session of its own: up to RabbitMQ 4.2 an address that was made
// up closes the connection on which it is answered, and that must not be the one that all other replies go through.
type direct struct {
	conn conn.Connector

	mu      sync.Mutex // guards what follows, and is held while dialing: those who wait need the result
	session conn.Session
	pub     conn.Publisher
	dialed  time.Time
}

const (
	directTimeout = 5 * time.Second
	directRedial  = 100 * time.Millisecond // between two dials, or a flood of made-up addresses would keep the workers dialing
)

var errDirect = errors.New("no session for direct replies")

func (d *direct) publisher(ctx context.Context) (conn.Session, conn.Publisher, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil && d.session.Err() == nil {
		return d.session, d.pub, nil
	}
	if time.Since(d.dialed) < directRedial {
		return nil, nil, errDirect
	}
	d.dialed = time.Now()
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	session, err := d.conn.Dial(ctx)
	if err != nil {
		return nil, nil, errors.Join(errDirect, err)
	}
	pub, err := session.OpenPublisher(ctx, func(*conn.Return) {})
	if err != nil {
		session.Close(ctx)
		return nil, nil, errors.Join(errDirect, err)
	}
	d.session, d.pub = session, pub
	return session, pub, nil
}

func (d *direct) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil {
		ctx, cancel := context.WithTimeout(context.Background(), directTimeout)
		defer cancel()
		d.session.Close(ctx)
	}
}

package conntest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A Connector stands for one process: all in it share one live session, which is replaced at once when it has died and
// the broker is up. It is the [conn.Connector] of a [Broker]. Make it with [Broker.Connector].
type Connector struct {
	b         *Broker
	name      string
	user      string
	noInspect bool
	frozen    atomic.Pointer[chan struct{}] // nil while the process runs

	// guarded by the broker's mutex
	shared *session
	closed bool
	armed  []*armed
}

// An Option sets up a [Connector].
type Option func(*Connector)

// WithUser sets the user that the process logs in as, which the broker compares with each UserID. Default: guest.
func WithUser(name string) Option { return func(c *Connector) { c.user = name } }

// WithoutInspect refuses each InspectQueue, as RabbitMQ 4.3 does to a user without the configure right.
func WithoutInspect() Option { return func(c *Connector) { c.noInspect = true } }

// Session returns the shared session. See [conn.Connector].
func (c *Connector) Session(ctx context.Context) (conn.Session, error) {
	for {
		c.awake()
		s, up, err := c.live()
		if s != nil || err != nil {
			return s, err
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: broker is down: %w", conn.ErrNotConnected, ctx.Err())
		}
	}
}

// live returns the shared session, an error if there will never be one, or neither: then up is closed when to ask again.
func (c *Connector) live() (s conn.Session, up <-chan struct{}, err error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.shared != nil && !c.shared.over {
		return c.shared, nil, nil
	}
	if err := c.ended(); err != nil {
		return nil, nil, err
	}
	if c.b.down {
		return nil, c.b.up, nil
	}
	c.shared = c.open()
	return c.shared, nil, nil
}

// Dial opens a session for the caller alone, or fails at once if the broker is down. See [conn.Connector].
func (c *Connector) Dial(ctx context.Context) (conn.Session, error) {
	c.awake()
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if err := c.ended(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", conn.ErrNotConnected, err)
	}
	if c.b.down {
		return nil, fmt.Errorf("%w: broker is down", conn.ErrNotConnected)
	}
	return c.open(), nil
}

// Elsewhere returns nothing: the broker is one node.
func (c *Connector) Elsewhere() []conn.Dialer { return nil }

func (c *Connector) ended() error {
	switch {
	case c.b.closed:
		return fmt.Errorf("%w: broker is closed", conn.ErrNotConnected)
	case c.closed:
		return fmt.Errorf("%w: connector %s is closed", conn.ErrNotConnected, c.name)
	}
	return nil
}

// Lose ends all sessions of the process, as a failure of its network does.
func (c *Connector) Lose() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.endAll(errLost)
}

// Freeze stops the process, as SIGSTOP does: whatever it does with a session waits, and so does each callback, until
// [Connector.Thaw]. The broker does not know: a [Connector.Lose] in the meantime is what becomes of its connection when heartbeats are
// missed. A process must be thawed before it, or the broker, is closed.
func (c *Connector) Freeze() {
	frozen := make(chan struct{})
	c.frozen.CompareAndSwap(nil, &frozen)
}

// Thaw ends what [Connector.Freeze] began.
func (c *Connector) Thaw() {
	if frozen := c.frozen.Swap(nil); frozen != nil {
		close(*frozen)
	}
}

// awake waits for as long as the process is frozen.
func (c *Connector) awake() {
	for frozen := c.frozen.Load(); frozen != nil; frozen = c.frozen.Load() {
		<-*frozen
	}
}

// Close ends all sessions of the process, and waits for their callbacks as long as ctx allows. There will be no more
// sessions.
func (c *Connector) Close(ctx context.Context) error {
	c.b.mu.Lock()
	c.closed = true
	ended := c.endAll(conn.ErrClosed)
	c.b.mu.Unlock()
	for _, s := range ended {
		if err := s.quiet(ctx); err != nil {
			return err
		}
	}
	return nil
}

var errLost = errors.New("connection lost: connection reset by peer")

func (c *Connector) endAll(cause error) (ended []*session) {
	for _, s := range c.b.sessions {
		if s.c == c {
			ended = append(ended, s)
		}
	}
	endAll(ended, cause)
	return ended
}

package daemon

import (
	"context"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A service is one life of a service: built, started, stopped.
type service struct {
	config config.Service
	server *server.Server
	close  func() // ends what its kind has started
	ended  func() // tells who observes it
	forget func() // gives its memory back

	ctx  context.Context // from start to stop
	stop context.CancelFunc
	done chan struct{} // closed when it has drained
	err  error         // to read after done
}

// build makes a service, with what earlier lives of it remember.
func (d *Daemon) build(ctx context.Context, c config.Service) (*service, error) {
	opts, err := c.Options()
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", c.Name, err)
	}
	m, err := d.memories.take(ctx, &c)
	if err != nil {
		return nil, fmt.Errorf("service %s: open its store: %v", c.Name, err) // a deadline in it is none of the broker's
	}
	s := &service{config: c, ended: func() {}, done: make(chan struct{})}
	s.forget = func() { d.memories.giveBack(m) }
	s.server, err = server.New(d.conn.Load(), c.Name, append(append(opts, d.opts.Server...), server.WithLogger(d.log), server.WithStore(m.store))...)
	if err == nil {
		s.close, err = c.Own.Serve(s.server, d.log)
	}
	if err != nil {
		s.forget()
		return nil, fmt.Errorf("service %s: %w", c.Name, err)
	}
	if d.opts.Built != nil {
		s.ended = d.opts.Built(s.server)
	}
	return s, nil
}

// start serves until stop is called or ctx ends.
func (s *service) start(ctx context.Context) {
	s.ctx, s.stop = context.WithCancel(ctx)
	go func() {
		defer close(s.done)
		s.err = s.server.Run(s.ctx)
		s.end()
	}()
}

// end gives back what it was built with.
func (s *service) end() {
	s.close()
	s.ended()
	s.forget()
}

// stopped reports whether it was to end.
func (s *service) stopped() bool { return s.ctx.Err() != nil }

func (s *service) isReady() bool {
	select {
	case <-s.server.Ready():
		return true
	default:
		return false
	}
}

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
	memory *memory
	server *server.Server
	close  func() // ends what its kind has started
	ended  func() // tells who observes it

	ctx  context.Context // from start to stop
	stop context.CancelFunc
	done chan struct{} // closed when it has drained
	err  error         // to read after done
}

// build makes a service with a memory, or with a new one if that is nil.
func (d *Daemon) build(ctx context.Context, c config.Service, m *memory) (*service, error) {
	opts, err := c.Options()
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", c.Name, err)
	}
	own := m == nil
	if own {
		if m, err = openMemory(ctx, &c.Dedupe, d.log); err != nil {
			return nil, fmt.Errorf("service %s: open its store: %w", c.Name, err)
		}
	}
	s := &service{config: c, memory: m, ended: func() {}, done: make(chan struct{})}
	s.server, err = server.New(d.conn.Load(), c.Name, append(append(opts, d.opts.Server...), server.WithLogger(d.log), server.WithStore(m.store))...)
	if err == nil {
		s.close, err = c.Own.Serve(s.server, d.log)
	}
	if err != nil {
		if own {
			m.close(d.log)
		}
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
		s.close()
		s.ended()
	}()
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

package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/rawloop"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A serverWorker answers the calls.
type serverWorker struct {
	*worker
	prof *profile
	stop func() error
}

// Serve makes the server, and returns once it takes calls.
func (w *serverWorker) Serve(s Setup, _ *Nothing) (err error) {
	if s.Side.Kind == kindOwn {
		w.stop, err = w.serve(&s)
	} else {
		w.stop, err = w.serveRaw(&s)
	}
	if err != nil {
		return err
	}
	w.prof, err = startProfile(s.Profile)
	return err
}

func (w *serverWorker) serve(s *Setup) (stop func() error, err error) {
	m, err := conn.Open(w.ctx, w.url, conn.WithName("rabbitrpc bench server"), conn.WithLogger(w.log))
	if err != nil {
		return nil, err
	}
	opts := []server.Option{server.WithWorkers(s.workers()), server.WithLogger(w.log), server.WithDrain(time.Second)}
	queues := []string{"rabbitrpc." + s.Queue}
	if s.Cell.Mode == ModePlain {
		opts = append(opts, server.WithQueue(s.Queue, method))
		queues = append(queues, s.Queue)
	}
	srv, err := server.New(m, s.Queue, opts...)
	if err != nil {
		return nil, err
	}
	echo := rpc.Method[[]byte, []byte]{Service: s.Queue, Name: method, ContentType: rpc.ContentTypeBytes}
	hold := s.Hold
	server.Handle(srv, echo, func(ctx context.Context, body []byte) ([]byte, error) {
		if hold {
			<-ctx.Done()
		}
		return body, nil
	})
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("serve: %w", err)
	}
	return func() error {
		cancel()
		<-ended // it was cut short, maybe
		return remove(w.ctx, m, queues)
	}, nil
}

// remove deletes queues, with all that is in them.
func remove(ctx context.Context, m *conn.Manager, queues []string) error {
	ctx, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	s, err := m.Session(ctx)
	if err != nil {
		return err
	}
	for _, q := range queues {
		if err := s.DeleteQueue(ctx, q); err != nil {
			return fmt.Errorf("delete queue %s: %w", q, err)
		}
	}
	return m.Close(ctx)
}

func (w *serverWorker) serveRaw(s *Setup) (stop func() error, err error) {
	handle := func(body []byte) []byte { return body }
	if s.Hold {
		handle = func(body []byte) []byte { <-w.ctx.Done(); return body }
	}
	srv, err := rawloop.Serve(w.url, s.Queue, s.workers(), s.Side.Kind == kindRawSafe, handle)
	if err != nil {
		return nil, err
	}
	return func() error { srv.Close(); return nil }, nil
}

// Usage returns what the server has used so far.
func (w *serverWorker) Usage(_ Nothing, u *Usage) error {
	*u = ownUsage()
	return nil
}

// Finish stops the server, deletes what it has declared, and writes what was asked for besides.
func (w *serverWorker) Finish(Nothing, *Nothing) error {
	err := w.prof.stop()
	if w.stop != nil {
		if e := w.stop(); err == nil {
			err = e
		}
	}
	return err
}

package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/rawloop"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A serverWorker answers the calls.
type serverWorker struct {
	worker
	prof  *profile
	stop  func() error
	queue func() (int, error) // requests that wait there

	hold    chan struct{} // closed to let requests go that are held; nil if none are
	holding atomic.Int64
}

// Serve makes the server, and returns once it takes calls.
func (w *serverWorker) Serve(s Setup, _ *Nothing) (err error) {
	if s.Hold {
		w.hold = make(chan struct{})
	}
	if s.Side.Kind == Own {
		err = w.serve(&s)
	} else {
		err = w.serveRaw(&s)
	}
	if err != nil {
		return err
	}
	w.prof, err = startProfile(s.Profile)
	return err
}

// echo answers a request with its own body, in the end.
func (w *serverWorker) echo(body []byte) []byte {
	if w.hold != nil {
		w.holding.Add(1)
		<-w.hold
	}
	return body
}

func (w *serverWorker) serve(s *Setup) error {
	m, err := conn.Open(w.ctx, w.url, conn.WithName("rabbitrpc bench server"), conn.WithLogger(w.log))
	if err != nil {
		return err
	}
	// What is remembered for ten seconds by default would be more than fits, of large bodies at such a rate.
	lru, err := idempotency.NewLRU(idempotency.WithMinAge(time.Second))
	if err != nil {
		return err
	}
	opts := []server.Option{server.WithWorkers(s.Cell.Workers()), server.WithLogger(w.log), server.WithStore(lru)}
	queues := []string{"rabbitrpc." + s.Queue}
	if s.Cell.Mode == Plain {
		opts = append(opts, server.WithQueue(s.Queue, method))
		queues = append(queues, s.Queue)
	}
	srv, err := server.New(m, s.Queue, opts...)
	if err != nil {
		return err
	}
	echo := rpc.Method[[]byte, []byte]{Service: s.Queue, Name: method, ContentType: rpc.ContentTypeBytes}
	server.Handle(srv, echo, func(_ context.Context, body []byte) ([]byte, error) { return w.echo(body), nil })
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx)) // it is stopped in good order, whatever else ends
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	w.stop = func() error {
		cancel()
		return errors.Join(<-ended, remove(m, queues, "rabbitrpc."+s.Queue))
	}
	w.queue = func() (int, error) { return waiting(w.ctx, m, queues[len(queues)-1]) }
	select {
	case <-srv.Ready():
		return nil
	case err := <-ended:
		ended <- err
		return fmt.Errorf("serve: %w", err)
	case <-time.After(readyTimeout):
		return fmt.Errorf("serve: the server is not ready after %v: %w", readyTimeout, cmp.Or(srv.State().Err, errors.New("no word from the broker")))
	}
}

func waiting(ctx context.Context, m *conn.Manager, queue string) (int, error) {
	s, err := m.Session(ctx)
	if err != nil {
		return 0, err
	}
	q, err := s.InspectQueue(ctx, queue)
	return q.Messages, err
}

// remove deletes queues, with all that is in them, and ends the connection.
func remove(m *conn.Manager, queues []string, exchange string) error {
	ctx, cancel := context.WithTimeout(context.Background(), CloseLimit)
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
	if err := s.DeleteExchange(ctx, exchange); err != nil {
		return fmt.Errorf("delete exchange %s: %w", exchange, err)
	}
	return m.Close(ctx)
}

func (w *serverWorker) serveRaw(s *Setup) error {
	srv, err := rawloop.Serve(w.url, s.Queue, s.Cell.Workers(), s.Side.Kind == RawSafe, w.echo)
	if err != nil {
		return err
	}
	w.stop = func() error { srv.Close(); return nil }
	w.queue = srv.Waiting
	return nil
}

// Usage tells what the server has used so far.
func (w *serverWorker) Usage(_ Nothing, u *Usage) error {
	*u = ownUsage()
	return nil
}

// Held tells how many requests are held, or wait in the queue.
func (w *serverWorker) Held(_ Nothing, n *int) error {
	queued, err := w.queue()
	*n = int(w.holding.Load()) + queued
	return err
}

// Finish stops the server, deletes what it has declared, and writes what was asked for besides.
func (w *serverWorker) Finish(Nothing, *Nothing) error { return errors.Join(w.prof.stop(), w.close()) }

// close is the part of Finish that nobody may leave out. A second one does nothing.
func (w *serverWorker) close() error {
	if w.stop == nil {
		return nil
	}
	if w.hold != nil {
		close(w.hold)
	}
	stop := w.stop
	w.stop = nil
	return stop()
}

package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// ErrLost ends what was measured with a connection that is gone: a client that calls again over the next one is not what was to be
// measured.
var ErrLost = errors.New("the connection with the broker was lost")

// sessionOf returns a context that ends with ErrLost when a manager has lost its connection.
func (w *worker) sessionOf(m *conn.Manager) context.Context {
	ctx, end := context.WithCancelCause(w.ctx)
	go func() { // until the connection is lost, or the process ends
		for s := range m.Watch(ctx) {
			if s.Phase != conn.Connected {
				end(fmt.Errorf("%w: %w", ErrLost, cmp.Or(s.Err, conn.ErrNotConnected)))
				return
			}
		}
	}()
	return ctx
}

// until returns a context that ends with ErrLost when lost is closed.
func until(ctx context.Context, lost <-chan struct{}) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	go func() { // until then, or the process ends
		select {
		case <-lost:
			end(ErrLost)
		case <-ctx.Done():
		}
	}()
	return ctx
}

package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest"
)

// A slowConnector takes its time to dial.
type slowConnector struct {
	conn.Connector
	dial time.Duration
}

func (c slowConnector) Dial(ctx context.Context) (conn.Session, error) {
	select {
	case <-time.After(c.dial):
		return c.Connector.Dial(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Nobody waits for a dial beyond the end of the own context, and who closes ends it.
func TestDiscoveryDoesNotWaitForDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := client.NewDiscovery(slowConnector{dial: time.Hour})
		go d.Queue(t.Context(), "math")
		synctest.Wait()
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := d.Queue(brief, "math")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, conn.ErrNotConnected) {
			t.Errorf("look: got %v, want the end of the context without a connection", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v, want 1s", took)
		}
		if err := d.Close(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Errorf("close: got %v after %v, want the end of the dial", err, time.Since(start))
		}
	})
}

// A dial that takes longer than each who asks is ready to wait serves those who ask later.
func TestDiscoveryDialsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := conntest.NewBroker()
		defer b.Close()
		d := client.NewDiscovery(slowConnector{b.Connector("discovery"), 150 * time.Millisecond})
		defer d.Close(t.Context())
		var errs []error
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := d.Queue(ctx, "math")
			cancel()
			errs = append(errs, err)
		}
		if !errors.Is(errs[0], context.DeadlineExceeded) || !errors.Is(errs[1], conn.ErrNotFound) || !errors.Is(errs[2], conn.ErrNotFound) {
			t.Errorf("got %v, want an answer from the second look on", errs)
		}
	})
}

package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A stuckConnector dials for as long as it may.
type stuckConnector struct{ conn.Connector }

func (stuckConnector) Elsewhere() []conn.Dialer { return nil }

func (stuckConnector) Dial(ctx context.Context) (conn.Session, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Nobody waits beyond the end of the own context for somebody else's dial.
func TestDiscoveryDoesNotWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := client.NewDiscovery(stuckConnector{})
		dialing, stop := context.WithCancel(t.Context())
		defer stop()
		go d.Queue(dialing, "math")
		synctest.Wait()
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := d.Queue(brief, "math"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("look: got %v, want the end of the context", err)
		}
		if err := d.Close(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: got %v, want the end of the context", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v, want 1s", took)
		}
		stop()
		synctest.Wait()
		if err := d.Close(brief); err != nil {
			t.Errorf("close: got %v, though nobody dials any more", err)
		}
	})
}

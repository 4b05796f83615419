package conn_test

import (
	"context"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/conn/conntest/conformance"
	"github.com/rabbitrpc/rabbitrpc/internal/testbroker"
)

func TestConformance(t *testing.T) {
	t.Setenv("RABBITRPC_DATAPLANE", "") // whatever the rest of the run is for
	for name, opts := range both {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) (a, b conn.Connector) {
				return open(t, testbroker.URL(t), opts...), open(t, testbroker.URL(t), opts...)
			})
		})
	}
	t.Run("data plane, gathering", func(t *testing.T) {
		conformance.Run(t, func(t *testing.T) (a, b conn.Connector) {
			return gathering{open(t, testbroker.URL(t))}, gathering{open(t, testbroker.URL(t))}
		})
	})
}

// A gathering connector has sessions in which all that comes waits for more.
type gathering struct{ conn.Connector }

func (g gathering) Session(ctx context.Context) (conn.Session, error) {
	s, err := g.Connector.Session(ctx)
	if err == nil {
		s.Gather(time.Millisecond, time.Now().Add(time.Hour))
	}
	return s, err
}

func (g gathering) Dial(ctx context.Context) (conn.Session, error) {
	s, err := g.Connector.Dial(ctx)
	if err == nil {
		s.Gather(time.Millisecond, time.Now().Add(time.Hour))
	}
	return s, err
}

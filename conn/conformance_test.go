package conn_test

import (
	"testing"

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
}

package client_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// The options of a call win over those of the client, and those that the broker obeys are on the message.
func TestOptionsOfACallWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var priorities []uint8
		r := newRig(t, func(c conn.Connector) conn.Connector {
			return &hooked{Connector: c, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
				priorities = append(priorities, m.Priority)
				return p.Publish(m, confirmed)
			}}
		}, client.WithoutRetry(), client.WithPriority(2))
		refused := true
		r.serve(r.broker.Connector("server"), func(_ context.Context, n int) (int, error) {
			if refused = !refused; !refused {
				return 0, rpc.Errorf(rpc.ResourceExhausted, "not now").WithExecuted(rpc.ExecutedNo)
			}
			return 2 * n, nil
		})
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.ResourceExhausted, rpc.ExecutedNo)
		refused = true
		if got, err := client.Call(t.Context(), r.client, double, 1, client.WithRetry(), client.WithPriority(7)); got != 2 || err != nil {
			t.Errorf("got %d, %v, want 2 by a retry", got, err)
		}
		if len(priorities) != 3 || priorities[0] != 2 || priorities[1] != 7 || priorities[2] != 7 {
			t.Errorf("got priorities %v, want 2 of the client, then 7 of the call twice", priorities)
		}
	})
}

package client_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// dialing counts sessions of one's own, of which it has none.
type dialing struct {
	*hooked
	dials atomic.Int64
}

func (d *dialing) Dial(context.Context) (conn.Session, error) {
	d.dials.Add(1)
	return nil, conn.ErrNotConnected
}

// Who may not look, and gets no session to find the exchange with, does not dial all the time.
func TestSeekExchangeInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *dialing
		r := newRig(t, func(c conn.Connector) conn.Connector {
			d = &dialing{hooked: &hooked{Connector: c, lookErr: conn.ErrRefused}}
			return d
		}, client.WithTimeout(5*time.Second))
		r.serve(r.broker.Connector("server"), twice)
		_, err := r.call(t.Context(), 1)
		check(t, err, rpc.Unavailable, rpc.ExecutedNo, conn.ErrNotConnected)
		if n := d.dials.Load(); n > 6 {
			t.Errorf("%d dials in 5s, want one each second", n)
		}
	})
}

package client

import (
	"testing"

	"github.com/rabbitrpc/rabbitrpc/conn"
)

// A service that is not called any more keeps no session that is over, with all its buffers.
func TestReconnectedForgetsSession(t *testing.T) {
	s := newServices(nil)
	svc := s.get("math", func() *service { return &service{} })
	for _, state := range []presence{present, missing, denied} {
		svc.state = state
		s.foundExchange(svc, struct{ conn.Session }{})
		if s.reconnected(); svc.exchangeIn != nil {
			t.Errorf("%v: the session is kept", state)
		}
	}
}

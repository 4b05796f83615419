package client_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A queue that its servers have left full does not hide that they are gone.
func TestFullQueueDoesNotHideAbsence(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		_, stop := r.serve(r.broker.Connector("server"), twice, server.WithMaxQueue(1))
		r.mustCall(1)
		stop()
		s, _ := r.broker.Connector("admin").Session(t.Context())
		pub, _ := s.OpenPublisher(t.Context(), nil)
		pub.Publish(&conn.Message{Key: wire.Queue("math"), Persistent: true}, nil) // what waits for the servers
		synctest.Wait()
		time.Sleep(time.Second)
		saw := map[string]int{}
		for range 200 {
			_, err := r.call(t.Context(), 1)
			if errors.Is(err, client.ErrNoServer) {
				saw["no server"]++
			} else {
				saw[rpc.CodeOf(err).String()+" "+rpc.Executed(err).String()]++
			}
			time.Sleep(50 * time.Millisecond)
		}
		if saw["no server"] == 0 {
			t.Errorf("200 calls in 10 s, none told that nobody is there: %v", saw)
		}
		s.DeleteQueue(t.Context(), wire.Queue("math"))
	})
}

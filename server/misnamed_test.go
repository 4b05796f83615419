package server_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// A server that answers as somebody else than it has logged in as costs those who share its connection one session in half a minute.
func TestAnswersAsSomebodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var replies atomic.Int64
		c := &hooked{Connector: r.conn, publish: func(p conn.Publisher, m *conn.Message, confirmed func(bool)) error {
			replies.Add(1)
			return p.Publish(m, confirmed)
		}}
		p := r.start(c, twice, server.WithUser("mallory"), server.WithoutDiscovery())
		for i := range int64(3) {
			r.send(r.request("1"))
			time.Sleep(30*time.Second - time.Millisecond) // the broker would have it delivered again for 10 s
			if state := p.State(); replies.Load() != i+1 || state.Phase != server.Waiting || !strings.Contains(state.Err.Error(), "'mallory'") {
				t.Errorf("%d replies, state %+v, want %d, and waiting for the right name", replies.Load(), state, i+1)
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(r.log.String(), "correct server.WithUser"); n != 3 {
			t.Errorf("it was said %d times, want 3:\n%s", n, r.log)
		}
	})
}

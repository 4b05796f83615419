package server_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// gathering counts how often its sessions were told to gather.
type gathering struct {
	conn.Connector
	n atomic.Int64
}

type gatheringSession struct {
	conn.Session
	g *gathering
}

func (g *gathering) Session(ctx context.Context) (conn.Session, error) {
	s, err := g.Connector.Session(ctx)
	return gatheringSession{s, g}, err
}

func (s gatheringSession) Gather(until time.Time) {
	s.g.n.Add(1)
	s.Session.Gather(until)
}

// The server does more at once while all callers have it so, and it is not short of workers.
func TestBulk(t *testing.T) {
	bulk := func(m *conn.Message) { m.Headers["rpc-bulk"] = true }
	for _, c := range []struct {
		name    string
		workers int
		runs    int // handlers that take long, all the time
		single  int // each so many requests one is of another caller
		gathers bool
	}{
		{"all in bulk", 64, 0, 1000, true},
		{"another caller", 64, 0, 50, false},
		{"busy", 64, 40, 1000, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				g := &gathering{Connector: r.conn}
				r.start(g, func(_ context.Context, n int) (int, error) {
					if n == 0 {
						time.Sleep(time.Second)
					}
					return n, nil
				}, server.WithWorkers(c.workers))
				for range c.runs {
					r.send(r.request("0"))
				}
				r.replies()
				for i := range 200 {
					m := r.request("1")
					if i%c.single != 0 {
						bulk(m)
					}
					if _, err := r.ask(m); err != nil {
						t.Fatal(err)
					}
				}
				if n := g.n.Load(); c.gathers != (n > 0) {
					t.Errorf("gathered %d times", n)
				}
				time.Sleep(2 * time.Second)
				r.replies()
			})
		})
	}
}

package demo

import (
	"context"
	"fmt"
	"sync"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// slowCalls are calls under way that something is to happen to. Call n is for n, so that servers can say which they run.
type slowCalls struct {
	ran     map[int][]string // by n: the servers that began to run it, in order
	wg      sync.WaitGroup
	replies []*rpc.Reply // by n; nil for a call that failed
}

// startSlow starts calls 0 to n-1 and waits until each is running, at one server or another.
func (d *demo) startSlow(ctx context.Context, n int) (*slowCalls, error) {
	c := &slowCalls{ran: make(map[int][]string), replies: make([]*rpc.Reply, n)}
	for i := range n {
		c.wg.Go(func() { c.replies[i] = d.load.call(ctx, slow, i) })
	}
	ended := make(chan struct{})
	go func() { c.wg.Wait(); close(ended) }()
	for len(c.ran) < n {
		select {
		case e := <-d.events:
			c.add(e)
		case <-ended:
			if c.drain(d.events); len(c.ran) < n {
				return nil, fmt.Errorf("%d of %d calls did not run", n-len(c.ran), n)
			}
		}
	}
	return c, nil
}

// finish waits for the calls, and takes what the servers have said of them.
func (c *slowCalls) finish(d *demo) {
	c.wg.Wait()
	c.drain(d.events)
}

func (c *slowCalls) add(e event) { c.ran[e.n] = append(c.ran[e.n], e.server) }

// drain adds the events that are there.
func (c *slowCalls) drain(events <-chan event) {
	for {
		select {
		case e := <-events:
			c.add(e)
		default:
			return
		}
	}
}

// at returns how many of the calls ran first at a server.
func (c *slowCalls) at(server string) (n int) {
	for _, servers := range c.ran {
		if servers[0] == server {
			n++
		}
	}
	return n
}

// twice returns how many of the calls began to run more than once.
func (c *slowCalls) twice() (n int) {
	for _, servers := range c.ran {
		if len(servers) > 1 {
			n++
		}
	}
	return n
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

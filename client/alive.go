package client

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
)

const (
	// unheardAfter is how long nobody may say that a server has a request, before that is taken for lost, or the answer to it:
	// servers say so every two seconds.
	unheardAfter = 7 * time.Second

	// takenWithin is how long a request may be in no queue, with no server that says that it has it: one that a server has just
	// taken.
	takenWithin = 3 * time.Second
)

var errUnheard = errors.New("no server says any more that it has the request")

// watch ends the attempts of a session with it, and those that nobody has. The broker loses a request, or a reply, or what should
// come back to the caller, without a word when a queue gets another leader, or nodes of a cluster lose each other for a moment.
func (c *Client) watch(session conn.Session) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.endUnheard(now)
		case <-session.Done():
			c.pending.wakeAll()
			return
		case <-c.life.Done():
			return
		}
	}
}

func (c *Client) endUnheard(now time.Time) {
	waiting := make(map[string]bool) // by queue: whether any request does
	for _, call := range c.pending.all() {
		attempt, silent, queued := call.unheard(now.Add(-unheardAfter))
		if !silent {
			continue
		}
		if queued {
			queue := c.queue(call.req.Service)
			some, known := waiting[queue]
			if !known {
				some = c.someWait(c.service(call.req.Service))
				waiting[queue] = some
			}
			if !call.nowhere(now, some) {
				continue
			}
		}
		call.end(ending{attempt: attempt, kind: unheard, reason: errUnheard.Error()})
	}
}

// someWait reports whether requests to a service wait in its queue, as far as the broker tells.
func (c *Client) someWait(svc *service) bool {
	c.mu.Lock()
	l := c.current
	c.mu.Unlock()
	if l == nil || c.life.Err() != nil || c.services.blind(svc) {
		return true
	}
	ctx, cancel := context.WithTimeout(c.life, time.Second)
	defer cancel()
	info, err := l.session.InspectQueue(ctx, svc.queue)
	return err != nil || info.Messages > 0
}

// all returns the calls that wait.
func (p *pending) all() []*call {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*call, 0, len(p.calls))
	for _, c := range p.calls {
		all = append(all, c)
	}
	return all
}

// hear takes note that a server has the request of an attempt.
func (c *call) hear(attempt int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if attempt == c.attempt && !c.heard.IsZero() {
		c.heard, c.gone = time.Now(), time.Time{}
	}
}

// unheard reports whether no server has said since then that it has the present attempt, of those of which servers say so. One
// that is queued may be waiting.
func (c *call) unheard(since time.Time) (attempt int, unheard, queued bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attempt, !c.heard.IsZero() && c.heard.Before(since), c.mode == wire.Queued
}

// nowhere reports whether a request that no server has is in no queue either, and has not just been taken from it.
func (c *call) nowhere(now time.Time, waiting bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case waiting:
		c.gone = time.Time{}
	case c.gone.IsZero():
		c.gone = now
	}
	return !waiting && now.Sub(c.gone) >= takenWithin
}

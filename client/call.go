package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// roundTrip makes a call: it checks the request, passes the breaker and the limit, and carries out the plan.
func (c *Client) roundTrip(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	var start time.Time
	if c.opts.hooks.CallEnded != nil {
		start = time.Now()
	}
	c.stats.calls.Add(1)
	call := c.prepare(ctx, r)
	reply, err := c.admit(ctx, call)
	if err != nil {
		c.stats.failed.Add(1)
	} else {
		c.stats.ok.Add(1)
	}
	if c.opts.hooks.CallEnded != nil {
		c.opts.hooks.CallEnded(ctx, CallEnded{Request: &call.req, Attempts: call.req.Attempt, Reply: reply, Err: err, Took: time.Since(start)})
	}
	return reply, err
}

// prepare makes a call of what the caller has given.
func (c *Client) prepare(ctx context.Context, r *rpc.Request) *call {
	call := newCall(ctx, r)
	o := c.callOptions(ctx)
	o.once = o.once || r.AtMostOnce
	call.plan = plan{manner: o.manner, plain: c.opts.queue != ""}
	req := &call.req
	req.ID, req.Client, req.User, req.Attempt = o.id, c.opts.name, c.opts.user, 0
	if req.ID == "" {
		req.ID = c.ids.next()
	}
	if len(o.header) > 0 {
		given := r.Header // r may be req itself, see [Call]
		req.Header = make(rpc.Header, len(given)+len(o.header))
		for _, h := range []rpc.Header{given, o.header} {
			for name, value := range h {
				req.Header[name] = value
			}
		}
	}
	return call
}

// admit lets a call through that is well-formed, for a service that can be expected to answer, when there is room.
func (c *Client) admit(ctx context.Context, call *call) (*rpc.Reply, error) {
	p := &call.plan
	if err := wire.CheckRequest(&call.req, p.plain, c.opts.maxBody); err != nil {
		return nil, local(rpc.CodeOf(err), rpc.ExecutedNo, errors.New(message(err)))
	}
	if p.durable && p.plain {
		return nil, local(rpc.InvalidArgument, rpc.ExecutedNo, errPlain)
	}
	if e, refused := c.refusedBefore(&call.req); refused {
		return nil, e
	}
	svc := c.service(call.req.Service)
	p.queue, p.budget, p.back = svc.queue, svc.spend, svc.back
	permit, err := c.allow(ctx, svc, &call.req, &p.manner)
	if err != nil {
		return nil, err
	}
	reply, err := c.place(ctx, svc, call)
	permit.done(err)
	if err == nil && len(reply.Body) > c.opts.maxReply {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "reply has more than %d bytes", c.opts.maxReply).WithExecuted(rpc.ExecutedYes)
	}
	return reply, err
}

// place gives a call its place among those in flight, as long as it takes.
func (c *Client) place(ctx context.Context, svc *service, call *call) (*rpc.Reply, error) {
	if err := c.enter(ctx, call.plan.failFast); err != nil {
		return nil, err
	}
	defer c.leave()
	if !c.pending.add(call) {
		return nil, local(rpc.AlreadyExists, rpc.ExecutedUnknown, errors.New("a call with this ID is in flight"))
	}
	defer c.pending.remove(call, call.plan.named)
	svc.budget.earn()
	return c.carryOut(ctx, svc, call, &call.plan)
}

// carryOut does step after step of the plan, until its end.
func (c *Client) carryOut(ctx context.Context, svc *service, call *call, p *plan) (*rpc.Reply, error) {
	var l *link
	var ended time.Time // of the last attempt
	e := event{kind: started}
	for {
		s := p.next(e)
		switch s.do {
		case end:
			return s.reply, s.err
		case connect:
			l, e = c.connect(ctx, svc, p)
		case look:
			e = c.looked(ctx, l, svc, call, p.durable, ended)
		case publish:
			e, ended = c.attempt(ctx, l, svc, call, p, s.mode)
		case pause:
			e = c.pause(ctx, call, s.wait)
		case room:
			e = c.room(ctx, call, l)
		}
		if reply, ok := call.replied(); ok { // outranks whatever else came at the same moment
			e = reply
		}
	}
}

func (c *Client) connect(ctx context.Context, svc *service, p *plan) (*link, event) {
	l, err := c.link(ctx, p.failFast)
	if err == nil {
		known, denial := c.services.known(svc, p.durable, p.once)
		if known == denied {
			return l, event{kind: forbidden, cause: denial}
		}
		return l, event{kind: connected, known: known}
	}
	if e, ok := c.ended(ctx, false); ok {
		if errors.Is(err, conn.ErrNotConnected) {
			p.last = err // why there was no connection says more than that time is out
		}
		return nil, e
	}
	if errors.Is(err, conn.ErrNotConnected) && !p.failFast { // and there is time left
		return nil, event{kind: shut, cause: err}
	}
	return nil, event{kind: disconnected, cause: err}
}

func (c *Client) looked(ctx context.Context, l *link, svc *service, call *call, durable bool, since time.Time) event {
	found, err := c.look(ctx, l, svc, &call.req, durable, since)
	if e, ok := c.ended(ctx, false); ok {
		return e
	}
	if err != nil {
		return event{kind: disconnected, cause: err}
	}
	return event{kind: looked, known: found}
}

// attempt makes one attempt, and takes note of what it shows of the service. It also tells when it ended.
func (c *Client) attempt(ctx context.Context, l *link, svc *service, call *call, p *plan, mode wire.Mode) (e event, ended time.Time) {
	start := time.Now()
	a := wire.Attempt{Mode: mode, Queue: c.opts.queue, Exchange: svc.queue, Once: p.once, Priority: p.priority, Gather: time.Duration(c.bulk.gather.Load()), Share: true}
	if deadline, _ := ctx.Deadline(); mode == wire.Queued {
		a.Patience = c.services.patience(svc, deadline.Sub(start))
	}
	e = c.exchange(ctx, l, call, a, start)
	ended = time.Now()
	if e.answered() {
		if gather := c.bulk.ended(ended.Sub(start), len(c.places)); gather > 0 {
			l.session.Gather(gather, ended.Add(bulkFor))
		}
	}
	c.services.note(svc, p, mode, e, start, ended)
	if e.kind == full || e.kind == bounced {
		c.stats.bounced.Add(1)
	}
	if call.req.Attempt > 1 {
		c.stats.resent.Add(1)
	}
	if c.opts.hooks.AttemptEnded != nil {
		c.opts.hooks.AttemptEnded(ctx, AttemptEnded{
			Request: &call.req, Mode: mode.String(), Ending: e.kind.String(), Err: e.reason(), Took: ended.Sub(start),
		})
	}
	return e, ended
}

// exchange publishes a request and waits for the first of all that can come of it.
func (c *Client) exchange(ctx context.Context, l *link, call *call, a wire.Attempt, start time.Time) event {
	if e, ok := c.ended(ctx, false); ok {
		return e
	}
	attempt := call.begin(a.Mode, a.Once, start)
	a.ReplyTo = l.replyTo
	deadline, _ := ctx.Deadline()
	a.Timeout = deadline.Sub(start)
	var confirmed func(bool)
	if a.Mode == wire.Durable {
		confirmed = func(ok bool) {
			if !ok { // if it is, the wait for the reply goes on
				call.end(ending{attempt: attempt, kind: nacked, reason: errFull.Error()})
			}
		}
	}
	if err := l.publisher.Publish(wire.EncodeRequest(&call.req, a), confirmed); err != nil {
		return unpublished(err)
	}
	for {
		select {
		case <-call.news:
		case <-done(ctx):
		}
		if e, ok := c.outcome(ctx, l, call); ok {
			return e
		}
	}
}

// outcome tells what has come of an attempt, if anything has. A reply outranks whatever else came at the same moment.
func (c *Client) outcome(ctx context.Context, l *link, call *call) (event, bool) {
	if e, ok := call.replied(); ok {
		return e, true
	}
	if e, ok := call.ended(); ok {
		return e, true
	}
	if err := l.session.Err(); err != nil {
		if l.refused(call, err) {
			return event{kind: forbidden, cause: err}, true
		}
		if e, refused := c.unwelcome(call, err); refused {
			return event{kind: failed, err: e}, true
		}
		return event{kind: lost, cause: fmt.Errorf("session lost: %w", err)}, true
	}
	return c.ended(ctx, true)
}

func unpublished(err error) event {
	switch {
	case errors.Is(err, conn.ErrInvalid):
		return event{kind: failed, err: local(rpc.InvalidArgument, rpc.ExecutedNo, err)}
	case errors.Is(err, conn.ErrBlocked):
		return event{kind: blocked, cause: err}
	case conn.NotSent(err):
		return event{kind: unsent, cause: err}
	}
	return event{kind: unsure, cause: err}
}

// pause lets time pass. An answer to an earlier attempt may come meanwhile.
func (c *Client) pause(ctx context.Context, call *call, d time.Duration) event {
	if deadline, _ := ctx.Deadline(); time.Until(deadline) < d {
		return event{kind: over} // there will be no time for another attempt
	}
	t := time.NewTimer(d)
	defer t.Stop()
	return await(ctx, c, call, t.C)
}

// room waits until the broker takes messages again.
func (c *Client) room(ctx context.Context, call *call, l *link) event {
	blocked := l.session.Blocked()
	if blocked == nil {
		return event{kind: ready}
	}
	return await(ctx, c, call, blocked)
}

func await[T any](ctx context.Context, c *Client, call *call, until <-chan T) event {
	for {
		if e, ok := call.replied(); ok {
			return e
		}
		if e, ok := c.ended(ctx, false); ok {
			return e
		}
		select {
		case <-until:
			return event{kind: ready}
		case <-call.news:
		case <-done(ctx):
		}
	}
}

// ended tells how the caller has ended the call, if so.
func (c *Client) ended(ctx context.Context, out bool) (event, bool) {
	switch err := ctx.Err(); {
	case c.life.Err() != nil:
		return event{kind: canceled, cause: errClosed, out: out}, true
	case errors.Is(err, context.Canceled):
		return event{kind: canceled, cause: errCanceled, out: out}, true
	case err != nil:
		return event{kind: over, out: out}, true
	}
	return event{}, false
}

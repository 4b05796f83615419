package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/internal/wire"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// This file holds all decisions of a call: a state machine without I/O and without a clock. The loop in call.go does what
// it says and tells it what came of it.

// A step is what a call does next.
type step struct {
	do    doing
	mode  wire.Mode     // publish
	wait  time.Duration // pause
	reply *rpc.Reply    // end: exactly one of reply and err is set
	err   error
}

type doing uint8

const (
	connect doing = iota // to a session, with a reply queue in it
	look                 // whether somebody serves the queue
	publish              // the request, and wait for what comes of it
	pause                // for a while
	room                 // wait until the broker takes messages again
	end                  // the call is over
)

// An event is what came of a step.
type event struct {
	kind  kind
	known presence   // connected, looked
	reply *rpc.Reply // replied
	err   *rpc.Error // failed
	cause error      // the others
	out   bool       // over, canceled: while a request was out
}

type kind uint8

const (
	started      kind = iota
	connected         // there is a session; known is what is known of the service
	disconnected      // there is none, or it could not be asked
	shut              // there will be none: the connector is closed
	looked            // known is what there is
	replied           // by the server
	failed            // the server said no
	forbidden         // the broker lets this client not publish the request, or has no exchange for it
	returned          // unroutable: nobody has the request
	bounced           // no server had room for it, or one had it and died
	expired           // it was in the queue until the deadline
	full              // the queue is as long as it may be: this request had no place in it, or has lost it to another
	buried            // the broker gave it up for another reason
	nacked            // the broker refused it
	lost              // the session ended while the request was out
	unheard           // no server says any more that it has it
	unsent            // the request did not leave
	unsure            // it may have left
	blocked           // the broker takes no messages
	ready             // it does again, or the pause is over
	over              // time is out
	canceled          // the caller has canceled the call, or closed the client
)

// answered reports whether a server has answered.
func (e event) answered() bool { return e.kind == replied || e.kind == failed && e.err.Remote }

// heard reports whether something has come back, of the servers or of the broker.
func (e event) heard() bool {
	switch e.kind {
	case returned, bounced, expired, full, buried, nacked:
		return true
	}
	return e.answered()
}

// A plan is how a call goes on. It says how far the call has come.
type plan struct {
	manner
	queue  string      // where the requests to the service are
	budget func() bool // takes one retry out of the budget, if there is one
	back   func() bool // whether servers that are gone now are expected back
	plain  bool        // to a queue that others own

	bounce  bool       // the last attempt bounced: whoever serves the queue has no room
	kept    bool       // the last attempt was to wait in the queue, and may come back there
	maybe   bool       // an attempt may have been executed, or may still be
	bounces int        // so far
	tries   int        // retries so far
	last    error      // why the last attempt failed; each is a case of unavailable
	answer  *rpc.Error // of the server or the broker, to the last attempt
}

// next decides. Nothing else does.
func (p *plan) next(e event) step {
	switch e.kind {
	case started, ready:
		return step{do: connect}
	case connected:
		switch {
		case p.bounce || e.known == unknown:
			return step{do: look}
		case e.known == absent && !p.durable || e.known == missing:
			return p.nobody()
		}
		return p.publish(e.known)
	case looked:
		if e.known == present && p.bounce {
			e.known = busy
		}
		if e.known == unknown && p.bounces > 1 { // the queue has a leader, or nothing would come back
			e.known = absent
		}
		if p.bounce = false; e.known == missing || e.known == absent && !p.durable {
			return p.nobody()
		}
		return p.publish(e.known)

	case replied:
		return step{do: end, reply: e.reply}
	case failed:
		return p.refused(e.err)
	case nacked:
		return p.refused(local(rpc.ResourceExhausted, rpc.ExecutedNo, e.cause))

	case forbidden:
		if errors.Is(e.cause, conn.ErrNotFound) {
			return p.nobody()
		}
		return p.fail(rpc.PermissionDenied, e.cause)
	case returned:
		return p.nobody()
	case bounced:
		p.maybe, p.bounce, p.last = true, true, errBusy
		p.bounces++
		return p.again(step{do: connect})
	case expired:
		p.maybe = true
		return p.fail(rpc.DeadlineExceeded, errNotTaken)
	case full:
		return p.refused(local(rpc.ResourceExhausted, rpc.ExecutedUnknown, e.cause))
	case buried:
		p.maybe = true
		return p.fail(rpc.Internal, e.cause)
	case lost, unheard:
		p.maybe, p.last = true, e.cause
		return p.again(step{do: connect})
	case unsure:
		p.maybe, p.last = true, e.cause
		return p.again(step{do: pause, wait: jitter(soon)})

	case shut:
		return p.fail(rpc.Unavailable, e.cause)
	case unsent, disconnected:
		p.last = e.cause
		return p.patiently(step{do: pause, wait: jitter(soon)})
	case blocked:
		p.last = e.cause
		return p.patiently(step{do: room})

	case over:
		p.maybe = p.maybe || e.out
		switch {
		case e.out || p.answer == nil && p.last == nil:
			return p.fail(rpc.DeadlineExceeded, errNoReply)
		case p.answer != nil: // says more than that time is out
			return p.end(p.answer)
		}
		return p.fail(rpc.Unavailable, p.last)
	case canceled:
		p.maybe = p.maybe || e.out
		return p.fail(rpc.Canceled, e.cause)
	}
	panic(fmt.Sprintf("client: event %d", e.kind))
}

// publish chooses the mode of the next attempt.
func (p *plan) publish(known presence) step {
	s := step{do: publish, mode: wire.Direct}
	switch {
	case p.plain:
		s.mode = wire.Plain
	case p.durable:
		s.mode = wire.Durable
	case known == busy || p.once: // a bounce would be the end of it, whether or not a server has died
		s.mode = wire.Queued
	}
	p.kept = s.mode != wire.Direct
	return s
}

// nobody serves the queue. That is final, unless they are waited for or expected back.
func (p *plan) nobody() step {
	p.last = noServer(p.queue)
	if p.wait || p.back() && !p.failFast {
		return step{do: pause, wait: absentFor/2 + jitter(absentFor)}
	}
	return p.fail(rpc.Unavailable, p.last)
}

// again goes on after an attempt that may have been executed: a call that may be executed once only does not.
func (p *plan) again(s step) step {
	if p.once {
		return p.fail(rpc.Unavailable, p.last)
	}
	return s
}

// patiently goes on with a step that waits for the broker.
func (p *plan) patiently(s step) step {
	if p.failFast {
		return p.fail(rpc.Unavailable, p.last)
	}
	return s
}

// refused decides after a no of the server, or of the broker: a retry, if it may help, is safe, and within the budget.
// The call ID stays the same: what was executed is not executed again, but gives the same answer.
//
// A server's no for the moment is not the last word on a request that was to wait in the queue. The broker does not confirm
// acknowledgements: if that of the refused request is lost, with the server's session or with the broker, the request comes back,
// and the next server may have no reason to refuse it. One that is to be executed at most once it does refuse then.
func (p *plan) refused(e *rpc.Error) step {
	back := e.Remote && e.Code.Retryable() && p.kept && !p.once
	if e.Executed == rpc.ExecutedUnknown || back {
		p.maybe = true
	}
	safe := e.Executed == rpc.ExecutedNo || e.Executed == rpc.ExecutedUnknown && !p.once
	if !p.retry || !safe || !e.Code.Retryable() || !p.budget() {
		return p.end(e)
	}
	p.answer = e
	limit := min(firstRetry<<min(p.tries, 10), lastRetry)
	p.tries++
	return step{do: pause, wait: max(e.RetryAfter, jitter(limit))}
}

// end ends the call with an answer of the server. It speaks for its own attempt only: one before it may have been executed.
func (p *plan) end(e *rpc.Error) step {
	if p.maybe && e.Executed == rpc.ExecutedNo {
		e = e.WithExecuted(rpc.ExecutedUnknown)
	}
	return step{do: end, err: e}
}

// fail ends the call without an answer.
func (p *plan) fail(code rpc.Code, cause error) step {
	executed := rpc.ExecutedNo
	if p.maybe {
		executed = rpc.ExecutedUnknown
	}
	return step{do: end, err: local(code, executed, cause)}
}

const (
	soon       = 20 * time.Millisecond // what a broker may need to get over something
	firstRetry = 50 * time.Millisecond // limit of the wait before the first retry; it doubles
	lastRetry  = 2 * time.Second
)

// jitter is a random time up to d: callers that failed together do not come back together.
func jitter(d time.Duration) time.Duration { return rand.N(d) }

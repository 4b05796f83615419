package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// ErrBreakerOpen is in the chain of an unavailable error when the breaker of the service has let nothing through. The
// cause of the last failure is in the chain as well, and RetryAfter is the time until the next probe.
var ErrBreakerOpen = errors.New("breaker is open")

const (
	tripAfter = 20                     // failures in a row
	openFor   = 100 * time.Millisecond // until the next probe: it costs a look, so a server that comes back is soon noticed
)

// A breaker keeps calls from a service that cannot be reached. It is gobreaker's, with two things more: it remembers why
// it is open, and it probes with a look of its own, so that no call is risked.
type breaker struct {
	two  *gobreaker.TwoStepCircuitBreaker[struct{}]
	half atomic.Bool // half-open

	changes announcer[change] // gobreaker tells them under a lock, which a hook that looks at the state would wait for

	mu    sync.Mutex // guards what follows
	cause error      // of the last failure
	probe time.Time  // when the next probe is due
}

// A change is one of the state.
type change struct{ queue, from, to string }

func newBreaker(queue string, hook func(queue, from, to string)) *breaker {
	b := new(breaker)
	if hook != nil {
		b.changes.hook = func(c change) { hook(c.queue, c.from, c.to) }
	}
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         queue,
		Timeout:      openFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter },
		IsSuccessful: func(err error) bool { return !unreached(err) },
		IsExcluded:   neutral,
		OnStateChange: func(name string, from, to gobreaker.State) {
			b.half.Store(to == gobreaker.StateHalfOpen)
			b.changes.add(change{name, from.String(), to.String()})
		},
	})
	return b
}

// state returns that of the breaker, which time may have changed.
func (b *breaker) state() string {
	defer b.changes.tell()
	return b.two.State().String()
}

// unreached tells the failures that trip the breaker: nobody there, no broker, no answer. What a server said never does,
// nor does a call that had no time.
func unreached(err error) bool {
	e, ok := errors.AsType[*rpc.Error](err)
	if !ok || e.Remote {
		return false
	}
	return e.Code == rpc.Unavailable || e.Code == rpc.DeadlineExceeded && e.Executed == rpc.ExecutedUnknown
}

// neutral tells the endings that say nothing of the service: canceled calls, and those that this side has refused.
func neutral(err error) bool {
	e, ok := errors.AsType[*rpc.Error](err)
	return ok && !e.Remote && !unreached(err)
}

func (b *breaker) failed(err error) {
	if !unreached(err) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cause, b.probe = err, time.Now().Add(openFor)
}

// open makes the error of a call that is not let through.
func (b *breaker) open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait := max(time.Until(b.probe), time.Millisecond)
	return local(rpc.Unavailable, rpc.ExecutedNo, fmt.Errorf("%w, next probe in %v: %w", ErrBreakerOpen, wait.Round(time.Millisecond), b.cause)).
		WithRetryAfter(wait)
}

// A permit is what a breaker lets a call through with. It is told the outcome.
type permit struct {
	breaker  *breaker // nil: the call was to pass anyway
	report   func(error)
	since    time.Time
	services *services
	svc      *service
}

// errHasty stands for the end of a call that had less time than two take, which shows nothing of the service.
var errHasty = local(rpc.DeadlineExceeded, rpc.ExecutedNo, errNoReply)

func (p permit) done(err error) {
	if p.breaker != nil {
		if rpc.CodeOf(err) == rpc.DeadlineExceeded && unreached(err) && time.Since(p.since) < 2*p.services.usual(p.svc) {
			err = errHasty
		}
		p.breaker.failed(err)
		p.report(err)
		p.breaker.changes.tell()
	}
}

// allow asks the breaker, unless the call is to wait for servers.
func (c *Client) allow(ctx context.Context, svc *service, r *rpc.Request, m *manner) (permit, error) {
	b := svc.breaker
	if b == nil || m.wait || m.durable {
		return permit{}, nil
	}
	report, err := b.two.Allow()
	if err != nil {
		return permit{}, b.open()
	}
	p := permit{b, report, time.Now(), c.services, svc}
	if !b.half.Load() {
		return p, nil
	}
	if err := c.probe(ctx, svc, r, m.durable, p); err != nil {
		return permit{}, err
	}
	return c.allow(ctx, svc, r, m)
}

// probe finds out whether the service can be reached, without a call and without waiting for a connection. It tells the
// breaker in any case, or that would be half-open for ever.
func (c *Client) probe(ctx context.Context, svc *service, r *rpc.Request, durable bool, p permit) error {
	var outcome error = local(rpc.Canceled, rpc.ExecutedNo, errCanceled) // stands if a hook panics
	defer func() { p.done(outcome) }()
	p.breaker.changes.tell()
	var found presence
	l, err := c.link(ctx, true)
	if err == nil {
		found, err = c.look(ctx, l, svc, r, durable, time.Time{})
	}
	if e, ok := c.ended(ctx, false); ok { // says nothing of the service
		outcome = (&plan{}).next(e).err
		return outcome
	}
	switch {
	case err == nil && found == present:
		outcome = nil
		return nil
	case err == nil:
		err = noServer(c.queue(r.Service))
	}
	outcome = local(rpc.Unavailable, rpc.ExecutedNo, err)
	svc.breaker.failed(outcome)
	return svc.breaker.open()
}

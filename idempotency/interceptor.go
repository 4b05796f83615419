package idempotency

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	// settleTimeout bounds Complete and Abandon, which must happen though the
	// caller may be gone by then.
	settleTimeout = 5 * time.Second

	// askAgainAfter is when to ask again for the outcome of a call that runs
	// elsewhere, at the latest.
	askAgainAfter = 100 * time.Millisecond

	// mostRuns bounds how often a call is run whose effect is undone each time.
	mostRuns = 10
)

// Interceptor returns an interceptor that lets each call through once, and answers
// its duplicates with what came of it:
//
//   - A call that is new runs. Its outcome is recorded, then answered. If the
//     error says ExecutedNo the call did not run: nothing is recorded, and it may
//     run later. The same holds for an error with [rpc.ErrInDoubt] in its chain whose
//     code is retryable, unless the call is to be executed at most once.
//   - A duplicate of a call that runs behind this interceptor waits for it, as
//     long as its own context lasts, and gets the recorded outcome. If the call
//     turns out not to have run, the duplicate takes its turn.
//   - A duplicate of a call that ran gets a copy of the recorded outcome.
//   - A duplicate of a call that runs elsewhere waits too, asking the store again
//     and again.
//   - A call whose holder is gone runs again, unless it is to be executed at most
//     once: then it is recorded as unavailable, ExecutedUnknown.
//   - A call whose effect the store had to undo runs again, up to 10 times; then, and
//     if it is to be executed at most once, it gets aborted.
//   - A call ID that was used with another payload gets invalid_argument.
//
// A reply that was recorded has Replayed set. Each error of a call with an ID is an
// [rpc.Error], or wraps one: one of next that is not gets the code that [rpc.CodeOf]
// gives it, a fixed message, and the original for its cause.
//
// If the store cannot begin a call, it does not run: unavailable, ExecutedNo. If
// the store cannot record the outcome, or the claim was lost, the outcome is not
// answered, because a duplicate might get another one: unavailable,
// ExecutedUnknown, and [ErrLost] in the chain if that was it. The same call may
// be tried again, and gets the recorded outcome if there is one.
//
// If next panics the call is recorded as internal, because it may have had an
// effect, and the panic goes on.
func Interceptor(store Store) rpc.Interceptor {
	return func(next rpc.Handler) rpc.Handler {
		o := &once{store: store, next: next, flights: newFlights()}
		return o.do
	}
}

type once struct {
	store   Store
	next    rpc.Handler
	flights flights
}

func (o *once) do(ctx context.Context, req *rpc.Request) (*rpc.Reply, error) {
	if req.ID == "" {
		return o.next(ctx, req)
	}
	f := flight{KeyOf(req), FingerprintOf(req)}
	hash := o.flights.hash(f)
	// Whoever waited asks the store too: it has the outcome, if there is one.
	joined := false
	for left := o.flights.enter(hash); left != nil; left = o.flights.enter(hash) {
		joined = true
		select {
		case <-left:
		case <-ctx.Done():
			return nil, rpc.Errorf(rpc.CodeOf(ctx.Err()), "waiting for the same call: %w", ctx.Err())
		}
	}
	defer o.flights.leave(hash)
	for waits, runs := 0, 0; ; {
		begun, err := o.begin(ctx, f)
		if err != nil {
			return nil, doubt(err, joined || waits+runs > 0)
		}
		if begun.State == InFlight {
			if waits++; !pause(ctx, waits) {
				return nil, rpc.Errorf(rpc.Unavailable, "the call is running elsewhere").WithRetryAfter(askAgainAfter)
			}
			continue
		}
		reply, err, undone := o.answer(ctx, req, begun)
		// Only the store's part of the effect was undone: a handler may have another.
		if runs++; !undone || req.AtMostOnce || runs == mostRuns || !pause(ctx, runs) {
			return reply, doubt(err, runs > 1)
		}
	}
}

// doubt returns err, which is no no if the call may have run, here or elsewhere, since it was asked for.
func doubt(err error, may bool) error {
	if e, ok := errors.AsType[*rpc.Error](err); ok && may && e.Executed == rpc.ExecutedNo {
		return e.WithExecuted(rpc.ExecutedUnknown)
	}
	return err
}

// pause waits before the next question to the store, longer each time. It is false if
// ctx ends first.
func pause(ctx context.Context, try int) bool {
	d := min(askAgainAfter, time.Duration(try)*5*time.Millisecond)
	t := time.NewTimer(d/2 + rand.N(d/2)) // else all duplicates would ask at the same time
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (o *once) begin(ctx context.Context, f flight) (Begun, error) {
	begun, err := o.store.Begin(ctx, f.key, f.fingerprint)
	_, verdict := errors.AsType[*rpc.Error](err)
	switch {
	case err == nil || verdict:
		return begun, err
	case ctx.Err() != nil:
		return begun, rpc.Errorf(rpc.CodeOf(ctx.Err()), "the call ended before it began").
			WithCause(err).WithExecuted(rpc.ExecutedNo)
	}
	return begun, rpc.Errorf(rpc.Unavailable, "cannot tell whether the call is new").
		WithCause(err).WithExecuted(rpc.ExecutedNo)
}

// answer runs the call if it is the caller's, else tells what is known of it. If undone,
// that is as if it had not been called.
func (o *once) answer(ctx context.Context, req *rpc.Request, begun Begun) (reply *rpc.Reply, err error, undone bool) {
	switch begun.State {
	case New:
		return o.run(ctx, req, begun, o.next)
	case Orphaned:
		if req.AtMostOnce {
			return o.run(ctx, req, begun, orphan)
		}
		return o.run(ctx, req, begun, o.next)
	case Done:
		reply, err = begun.Record.replay()
		return reply, err, false
	case Mismatch:
		return nil, rpc.Errorf(rpc.InvalidArgument, "call ID was used before with another payload").
			WithExecuted(rpc.ExecutedNo), false
	}
	return nil, rpc.Errorf(rpc.Internal, "store answered with state %d", begun.State).
		WithExecuted(rpc.ExecutedNo), false
}

// orphan stands in for the handler of a call that is not to run again.
func orphan(context.Context, *rpc.Request) (*rpc.Reply, error) {
	return nil, rpc.Errorf(rpc.Unavailable, "the server that ran the call is gone, and it is to be executed at most once")
}

// run runs a call that is claimed with h, and ends the claim.
func (o *once) run(ctx context.Context, req *rpc.Request, begun Begun, h rpc.Handler) (reply *rpc.Reply, err error, undone bool) {
	failpoint.Hit("claimed")
	r := &running{claimed: claimed{ctx, begun.Claims}, grace: grace{call: ctx}}
	defer func() {
		if r.record == (Record{}) {
			r.record.Err = rpc.Errorf(rpc.Internal, "the handler panicked")
		}
		again := !r.record.executed() || r.record.inDoubt() && !req.AtMostOnce
		if failed := o.settle(&r.grace, begun, &r.record, again); failed != nil {
			reply, err, undone = nil, failed, errors.Is(failed, ErrUndone)
		}
	}()
	var with context.Context = &r.claimed
	if begun.Bind != nil {
		with = begun.Bind(with)
	}
	reply, err = h(with, req)
	if err == nil && reply == nil {
		err = rpc.Errorf(rpc.Internal, "the handler returned neither reply nor error")
	}
	if err != nil {
		r.record.Err = coded(err)
		return nil, r.record.Err, false
	}
	r.record.Reply = reply
	return reply, nil, false
}

// settle ends the claim. If the call may run again there is nothing to record. It returns the answer to give if the
// outcome must not be.
func (o *once) settle(ctx *grace, begun Begun, record *Record, again bool) *rpc.Error {
	defer ctx.end()
	if again {
		// If this fails the call cannot run until the store lets go of the claim.
		// What became of it is true all the same, unless another has it.
		if err := o.store.Abandon(ctx, begun.Token); errors.Is(err, ErrLost) {
			return rpc.Errorf(rpc.Unavailable, "the claim of the call was lost").WithCause(err).WithRetryAfter(askAgainAfter)
		}
		if begun.State == Orphaned {
			return record.Err.WithExecuted(rpc.ExecutedUnknown) // by whoever had it before
		}
		return nil
	}
	err := o.store.Complete(ctx, begun.Token, record)
	switch {
	case err == nil:
		failpoint.Hit("stored")
		return nil
	case errors.Is(err, ErrUndone):
		return rpc.Errorf(rpc.Aborted, "the call lost against others at the same data").
			WithCause(err).WithRetryAfter(askAgainAfter)
	}
	return rpc.Errorf(rpc.Unavailable, "the outcome of the call is not recorded").
		WithCause(err).WithRetryAfter(askAgainAfter)
}

// coded returns the first *rpc.Error in the chain of err, or one that tells nothing
// of err to the other side. err is in its chain.
func coded(err error) *rpc.Error {
	e, ok := errors.AsType[*rpc.Error](err)
	switch {
	case !ok || e == nil:
		return rpc.Errorf(rpc.CodeOf(err), "the handler failed").WithCause(err)
	case error(e) != err:
		return e.WithCause(err)
	}
	return e
}

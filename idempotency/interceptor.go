package idempotency

import (
	"context"
	"errors"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const (
	// settleTimeout bounds Complete and Abandon, which must happen though the
	// caller may be gone by then.
	settleTimeout = 5 * time.Second

	// askAgainAfter is when to ask again for the outcome of a call that runs
	// elsewhere.
	askAgainAfter = 100 * time.Millisecond
)

// Interceptor returns an interceptor that lets each call through once, and answers
// its duplicates with what came of it:
//
//   - A call that is new runs. Its outcome is recorded, then answered. If the
//     error says ExecutedNo the call did not run: nothing is recorded, and it may
//     run later.
//   - A duplicate of a call that runs behind this interceptor waits for it, as
//     long as its own context lasts, and gets the recorded outcome. If the call
//     turns out not to have run, the duplicate takes its turn.
//   - A duplicate of a call that ran gets a copy of the recorded outcome.
//   - A duplicate of a call that runs elsewhere gets unavailable, to try again
//     soon.
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
		o := &once{store: store, next: next, flights: flights{m: make(map[flight]chan struct{})}}
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
	// Whoever waited asks the store too: it has the outcome, if there is one.
	for left := o.flights.enter(f); left != nil; left = o.flights.enter(f) {
		select {
		case <-left:
		case <-ctx.Done():
			return nil, rpc.Errorf(rpc.CodeOf(ctx.Err()), "waiting for the same call: %w", ctx.Err())
		}
	}
	defer o.flights.leave(f)
	return o.begin(ctx, req, f)
}

// begin asks the store, and runs the call if it is new.
func (o *once) begin(ctx context.Context, req *rpc.Request, f flight) (*rpc.Reply, error) {
	begun, err := o.store.Begin(ctx, f.key, f.fingerprint)
	if err != nil {
		if _, ok := errors.AsType[*rpc.Error](err); ok {
			return nil, err
		}
		return nil, rpc.Errorf(rpc.Unavailable, "cannot tell whether the call is new").
			WithCause(err).WithExecuted(rpc.ExecutedNo)
	}
	switch begun.State {
	case New:
		return o.run(ctx, req, begun.Token)
	case Done:
		return begun.Record.replay()
	case InFlight:
		return nil, rpc.Errorf(rpc.Unavailable, "the call is running elsewhere").WithRetryAfter(askAgainAfter)
	case Mismatch:
		return nil, rpc.Errorf(rpc.InvalidArgument, "call ID was used before with another payload").
			WithExecuted(rpc.ExecutedNo)
	}
	return nil, rpc.Errorf(rpc.Internal, "store answered with state %d", begun.State).WithExecuted(rpc.ExecutedNo)
}

// run runs a call that is claimed, and ends the claim.
func (o *once) run(ctx context.Context, req *rpc.Request, token Token) (reply *rpc.Reply, err error) {
	// stands if next does not return
	record := &Record{Err: rpc.Errorf(rpc.Internal, "the handler panicked")}
	defer func() {
		if failed := o.settle(ctx, token, record); failed != nil {
			reply, err = nil, failed
		}
	}()
	reply, err = o.next(ctx, req)
	switch {
	case err != nil:
		record = &Record{Err: coded(err)}
		return nil, record.Err
	case reply == nil:
		record = &Record{Err: rpc.Errorf(rpc.Internal, "the handler returned neither reply nor error")}
		return nil, record.Err
	}
	record = &Record{Reply: reply}
	return reply, nil
}

// settle ends the claim. It returns the answer to give if the outcome must not be.
func (o *once) settle(ctx context.Context, token Token, record *Record) *rpc.Error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if !record.executed() {
		// If this fails the call cannot run until the store lets go of the claim.
		// That it has not run is true all the same.
		_ = o.store.Abandon(ctx, token)
		return nil
	}
	if err := o.store.Complete(ctx, token, record); err != nil {
		return rpc.Errorf(rpc.Unavailable, "the outcome of the call is not recorded").
			WithCause(err).WithRetryAfter(askAgainAfter)
	}
	return nil
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

package client

import (
	"context"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Hooks are told what happens: metrics, traces and logs are made of them. A hook that is nil costs nothing. Calls wait for the
// hooks, so they must be quick. The client holds no lock meanwhile: a hook may close the client and, but for Presence,
// make calls. The context is that of the call, as the interceptors have left it.
type Hooks struct {
	CallEnded    func(context.Context, CallEnded)
	AttemptEnded func(context.Context, AttemptEnded)

	// Presence tells what the client has learned of who serves a queue: present, busy, absent, missing, or denied if the
	// broker does not let it know. A call of the same service, made in this hook, would wait for the hook.
	Presence func(queue, presence string)

	// Breaker tells a change of the breaker of a queue: closed, half-open or open.
	Breaker func(queue, from, to string)

	// Session tells, once for each session, that the client uses a new one: err is why the one before ended, nil for the first.
	Session func(err error)
}

// CallEnded is a call that has ended. Exactly one of Reply and Err is nil.
type CallEnded struct {
	Request  *rpc.Request // not to be changed
	Attempts int          // that were made, under the same ID before too; 0 if nothing was sent
	Reply    *rpc.Reply
	Err      error
	Took     time.Duration
}

// AttemptEnded is an attempt that has ended.
type AttemptEnded struct {
	Request *rpc.Request // not to be changed, nor kept: the next attempt changes it
	Mode    string       // direct, queued, durable or plain
	Ending  string       // what came of it: replied, failed, bounced, lost and so on
	Err     error        // why, if there is more to say
	Took    time.Duration
}

// and returns hooks that tell h, then other.
func (h Hooks) and(other Hooks) Hooks {
	joined := Hooks{
		CallEnded:    both(h.CallEnded, other.CallEnded),
		AttemptEnded: both(h.AttemptEnded, other.AttemptEnded),
		Presence:     both(h.Presence, other.Presence),
		Breaker:      h.Breaker,
		Session:      h.Session,
	}
	if joined.Breaker == nil {
		joined.Breaker = other.Breaker
	} else if other.Breaker != nil {
		joined.Breaker = func(queue, from, to string) { h.Breaker(queue, from, to); other.Breaker(queue, from, to) }
	}
	if joined.Session == nil {
		joined.Session = other.Session
	} else if other.Session != nil {
		joined.Session = func(err error) { h.Session(err); other.Session(err) }
	}
	return joined
}

func both[A, B any](first, second func(A, B)) func(A, B) {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(a A, b B) { first(a, b); second(a, b) }
}

// String names a kind of event as it appears in [AttemptEnded].
func (k kind) String() string {
	return [...]string{
		"started", "connected", "disconnected", "shut", "looked", "replied", "failed", "forbidden", "returned", "bounced", "expired", "full", "buried",
		"nacked", "lost", "unheard", "unsent", "unsure", "blocked", "ready", "over", "canceled",
	}[k]
}

func (e event) reason() error {
	if e.err != nil {
		return e.err
	}
	return e.cause
}

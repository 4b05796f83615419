package server

import (
	"context"
	"time"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Hooks are told what happens: metrics and logs are made of them. Those that are nil cost nothing. They run on the
// goroutine of what they tell, before the caller is answered, so they must be quick.
type Hooks struct {
	// RequestEnded tells of each request that is to be answered, pings excepted. The context has ended if the deadline
	// is over.
	RequestEnded func(context.Context, RequestEnded)
}

// RequestEnded is a request whose answer is known.
type RequestEnded struct {
	Request  *rpc.Request  // not to be changed; as it came: its names are the caller's
	Method   string        // that of the request, if it is registered, else ""
	Err      *rpc.Error    // nil for a reply
	Replayed bool          // the reply is from the store
	Waited   time.Duration // for a worker, since the broker has delivered it; how long it was in the queue nobody can tell
	Ran      bool          // the handler was called: not for duplicates and refusals
	Handled  time.Duration // by it
}

// WithHooks tells h what happens, after the hooks that were given before.
func WithHooks(h Hooks) Option {
	return func(o *options) {
		if h.RequestEnded != nil {
			o.requestEnded = append(o.requestEnded, h.RequestEnded)
		}
	}
}

// ended tells the hooks what a request is answered with.
func (s *Server) ended(ctx context.Context, j *job, reply *rpc.Reply, err *rpc.Error) {
	if len(s.opts.requestEnded) == 0 {
		return
	}
	e := RequestEnded{
		Request: &j.call.Request, Err: err, Replayed: reply != nil && reply.Replayed,
		Waited: j.waited, Ran: j.executed.Load(), Handled: time.Duration(j.handled.Load()),
	}
	if s.methods[j.call.Method] != nil {
		e.Method = j.call.Method
	}
	for _, hook := range s.opts.requestEnded {
		s.tell(ctx, hook, e)
	}
}

// tell tells one hook. If it panics the request is answered all the same: else it would end one server after the other.
func (s *Server) tell(ctx context.Context, hook func(context.Context, RequestEnded), e RequestEnded) {
	defer func() {
		if p := recover(); p != nil {
			s.panicked(ctx, "hook", e.Request, p)
		}
	}()
	hook(ctx, e)
}

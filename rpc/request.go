package rpc

import (
	"context"

	"github.com/rabbitrpc/rabbitrpc/internal/contextkey"
)

// Header is metadata that users attach to a request. It is not part of the
// payload: two attempts of one call may carry different headers.
type Header map[string]string

// Request is one attempt of a call.
type Request struct {
	Service     string
	Method      string
	ContentType string // "" means ContentTypeJSON
	Body        []byte
	Header      Header

	// ID names the call: the same on each attempt, different for each call of
	// one Client. The client sets it. Without it nothing can be deduplicated.
	ID string

	// Client says who calls: the name that the client gives itself, or, for peers
	// that give none, their reply address. Nobody checks it.
	Client string

	// User is the user_id that the broker validated, or "". A client says its own.
	User string

	// Attempt counts the attempts of the call, from 1.
	Attempt int

	// AtMostOnce says that the call must not be executed again once it may have been.
	AtMostOnce bool

	// Redelivered, which the server sets, says that the broker has handed this attempt to a server before, which may have executed it.
	Redelivered bool
}

// WithRequest returns a context that carries r, as that of a handler does.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, contextkey.Request{}, r)
}

// RequestOf returns the request that ctx was made for: what a typed handler may want to know of its call, beyond what it
// is called with. It is nil outside of a handler, and not to be changed.
func RequestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(contextkey.Request{}).(*Request)
	return r
}

// Reply is the answer to a call that succeeded.
type Reply struct {
	ContentType string // "" means ContentTypeJSON
	Body        []byte

	// Server is the name of the server instance that ran the call.
	Server string

	// Replayed says that the call ran for another attempt, and that this is the
	// reply that was recorded then.
	Replayed bool
}

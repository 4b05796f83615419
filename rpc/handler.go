package rpc

import "context"

// Handler answers a request. On return exactly one of reply and error is nil.
//
// On a server it is the work itself; on a client it is the call. It is called
// from several goroutines, and it stops soon after ctx ends.
type Handler func(ctx context.Context, req *Request) (*Reply, error)

// Interceptor wraps a handler in another that does something more: before, after
// or instead of calling next. It may call next more than once.
type Interceptor func(next Handler) Handler

// Chain wraps h in interceptors. The first is the outermost: it sees the request
// first and the reply last. Chain calls each interceptor once, so that they
// panic at construction, not in a call, if one of them is nil.
func Chain(h Handler, interceptors ...Interceptor) Handler {
	for i := len(interceptors) - 1; i >= 0; i-- {
		h = interceptors[i](h)
	}
	return h
}

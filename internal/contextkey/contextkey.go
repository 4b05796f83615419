// Package contextkey has the keys under which more than one package keeps values in contexts.
package contextkey

// Request is the key of the *rpc.Request that a context was made for.
type Request struct{}

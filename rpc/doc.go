// Package rpc holds what both sides of a call say to each other: requests and
// replies, handlers and interceptors, coded errors, typed methods and codecs.
// It knows nothing of the broker, and does no I/O.
//
// # Guarantees
//
// Every error has a [Code], for programs, and says whether the effect of the
// call may have happened, see [Executed]. What is not known to be an error of
// this package is [Unknown] and [ExecutedUnknown]: in doubt, the answer is the
// one that makes nobody repeat a call that must not be repeated.
//
// Decoders check a bound before they use what it bounds, and no error of a
// decoder contains any part of the body.
//
// # Concurrency
//
// Functions, codecs and methods may be used by several goroutines. A [Request],
// a [Reply] and an [Error] belong to one goroutine at a time: whoever wants to
// keep one after passing it on keeps a copy.
package rpc

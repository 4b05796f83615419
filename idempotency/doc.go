// Package idempotency makes a call take effect once, however often its request
// arrives: the outcome of a call is recorded under its call ID, and a duplicate
// gets the recorded outcome instead of running again.
//
// # Guarantees
//
// What is promised depends on the [Store]:
//
//	LRU   survives nothing   at least once; duplicates that reach the same
//	                         living process are suppressed
//
// The outcome is recorded before it is answered. A call that failed is recorded
// like one that succeeded, unless its error says that it was not executed. A
// request without a call ID is not deduplicated.
//
// # Concurrency
//
// The handler of [Interceptor], and each Store, may be used by several goroutines.
package idempotency

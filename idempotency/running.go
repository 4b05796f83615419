package idempotency

import "context"

// running is a call that is claimed: what it takes until the claim has ended, in
// one allocation.
type running struct {
	claimed claimed
	record  Record // zero until next has returned
	grace   grace
}

// claimed is the context of a handler, which knows how often the call was claimed.
type claimed struct {
	context.Context
	claims int
}

type claimsKey struct{}

func (c *claimed) Value(key any) any {
	if key == (claimsKey{}) {
		return c.claims
	}
	return c.Context.Value(key)
}

// ClaimsOf returns how often the call that a handler runs for has been claimed, this
// time included: 1, or more if whoever claimed it before did not live to record an
// outcome. It is 0 outside of [Interceptor].
func ClaimsOf(ctx context.Context) int {
	n, _ := ctx.Value(claimsKey{}).(int)
	return n
}

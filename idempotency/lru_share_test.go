package idempotency_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

// as returns the LRU for calls of a tenant.
func (l lru) as(user, client string) lru {
	l.key.User, l.key.Client = user, client
	return l
}

func TestLRUShareBoundsEntries(t *testing.T) {
	virtual(t, func(l lru) {
		greedy, modest := l.as("greedy", ""), l.as("modest", "")
		greedy.run(1, 0)
		time.Sleep(time.Second)
		greedy.run(2, 0)
		greedy.wantShed(3, 9*time.Second) // until 1 may go
		greedy.want(1, idempotency.Done)
		greedy.wantShed(3, 10*time.Second) // until 2 may go: 1 was used again
		modest.run(1, 0)
		modest.run(2, 0)
		modest.wantShed(3, 10*time.Second)
		want := idempotency.Stats{New: 4, Done: 1, ShedForShare: 3}
		l.wantCounters(want)

		time.Sleep(10 * time.Second)
		greedy.run(3, 0) // in place of 2
		want.New++
		want.EvictedForRoom++
		l.wantCounters(want)
		greedy.want(1, idempotency.Done)
		modest.want(1, idempotency.Done)
		modest.want(2, idempotency.Done)
	}, idempotency.WithEntries(5), idempotency.WithTenantShare(0.4))
}

func TestLRUShareIsNoRoom(t *testing.T) {
	virtual(t, func(l lru) {
		for n := range 3 {
			l.as(fmt.Sprint("user", n), "").run(n, 0)
		}
		l.as("another", "").wantShed(3, 10*time.Second)
		l.wantCounters(idempotency.Stats{New: 3, ShedForRoom: 1})
		time.Sleep(10 * time.Second)
		l.as("another", "").run(3, 0)
		l.as("another", "").run(4, 0)
		l.wantCounters(idempotency.Stats{New: 5, ShedForRoom: 1, EvictedForRoom: 2})
	}, idempotency.WithEntries(3), idempotency.WithTenantShare(0.7))
}

func TestLRUShareBoundsBytes(t *testing.T) {
	virtual(t, func(l lru) {
		greedy, modest := l.as("greedy", ""), l.as("modest", "")
		greedy.run(1, 40_000)
		token := greedy.want(2, idempotency.New)
		time.Sleep(time.Second)
		greedy.complete(token, 40_000)    // never refused
		greedy.wantShed(3, 9*time.Second) // over half of the bytes
		modest.run(1, 40_000)             // over the bytes of all: 1 of greedy is too young to go
		modest.wantShed(2, 9*time.Second)
		l.wantCounters(idempotency.Stats{New: 3, ShedForShare: 1, ShedForRoom: 1})
		time.Sleep(9 * time.Second)
		greedy.run(3, 1000)
		l.wantCounters(idempotency.Stats{New: 4, ShedForShare: 1, ShedForRoom: 1, EvictedForRoom: 1})
		greedy.want(2, idempotency.Done)
		modest.want(1, idempotency.Done)
	}, idempotency.WithBytes(100_000), idempotency.WithTenantShare(0.5))
}

// What completes makes room among the outcomes of its own tenant first.
func TestLRUShareHoldsAtComplete(t *testing.T) {
	virtual(t, func(l lru) {
		greedy, modest := l.as("greedy", ""), l.as("modest", "")
		modest.run(1, 10_000) // the oldest
		greedy.run(1, 30_000)
		time.Sleep(10 * time.Second)
		greedy.run(2, 30_000)
		greedy.want(2, idempotency.Done)
		modest.want(1, idempotency.Done)
		if got := l.Stats(); got.EvictedForRoom != 1 || got.Bytes > 50_000 {
			t.Errorf("stats = %+v, want 1 of greedy gone", got)
		}
	}, idempotency.WithBytes(100_000), idempotency.WithTenantShare(0.5))
}

func TestLRUShareOfWhatRuns(t *testing.T) {
	virtual(t, func(l lru) {
		greedy := l.as("greedy", "")
		token := greedy.want(1, idempotency.New)
		time.Sleep(time.Hour)
		greedy.wantShed(2, 100*time.Millisecond)
		if err := l.Abandon(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		greedy.run(2, 0)
	}, idempotency.WithEntries(2), idempotency.WithTenantShare(0.5))
}

// A user is a tenant whatever its clients call themselves; a client is one if nobody has validated a user.
func TestLRUTenants(t *testing.T) {
	virtual(t, func(l lru) {
		l.as("user", "a").run(1, 0)
		l.as("user", "b").wantShed(1, 10*time.Second)
		l.as("", "a").run(1, 0)
		l.as("", "a").wantShed(2, 10*time.Second)
		l.as("", "b").run(1, 0)
		l.as("", "user").run(2, 0)
	}, idempotency.WithEntries(10), idempotency.WithTenantShare(0.1))
}

// Without a bound one tenant may have all.
func TestLRUShareDefault(t *testing.T) {
	virtual(t, func(l lru) {
		for n := range 10 {
			l.as("user", "").run(n, 0)
		}
		l.as("user", "").wantShed(10, 10*time.Second)
		l.wantCounters(idempotency.Stats{New: 10, ShedForRoom: 1})
	}, idempotency.WithEntries(10))
}

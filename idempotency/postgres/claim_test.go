package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
)

const remaining = "SELECT extract(epoch FROM lease - clock_timestamp())::float8 FROM rabbitrpc.records"

func TestLeaseIsRenewed(t *testing.T) {
	d := newDatabase(t)
	s, other := open(t, d.url, postgres.WithLease(time.Second)), open(t, d.url)
	begun := begin(t, s, "1", idempotency.New)
	first := one[time.Time](d, "SELECT lease FROM rabbitrpc.records")
	until(t, "the first lease is over", func() bool {
		return one[bool](d, "SELECT clock_timestamp() > $1", first.Add(100*time.Millisecond))
	})
	begin(t, other, "1", idempotency.InFlight)
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Fatal(err)
	}
	begin(t, other, "1", idempotency.Done)
}

// A holder is cut off, and comes back after its call was taken over.
func TestFrozenHolder(t *testing.T) {
	d := newDatabase(t)
	line := newLine(t, d.url)
	frozen, other := open(t, line.url, postgres.WithLease(time.Second)), open(t, d.url)
	first := begin(t, frozen, "1", idempotency.New)
	line.hold()
	var second idempotency.Begun
	until(t, "the call is taken over", func() bool {
		var err error
		second, err = other.Begin(t.Context(), keyOf("1"), fingerprint)
		return err == nil && second.State == idempotency.Orphaned
	})
	if second.Claims != 2 || second.Token.Fence <= first.Token.Fence {
		t.Errorf("claim %d with fence %d after %d, want the second and a higher one", second.Claims, second.Token.Fence, first.Token.Fence)
	}
	line.release()
	if err := frozen.Complete(t.Context(), first.Token, reply("zombie")); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("Complete of the zombie = %v, want ErrLost", err)
	}
	if err := other.Complete(t.Context(), second.Token, reply("x")); err != nil {
		t.Fatal(err)
	}
	if got := begin(t, frozen, "1", idempotency.Done).Record.Reply.Body; string(got) != "x" {
		t.Errorf("reply = %q, want that of the second holder", got)
	}
}

// Of many that find an orphan at the same time one gets it.
func TestOneTakesOver(t *testing.T) {
	d := newDatabase(t)
	gone := open(t, d.url, postgres.WithLease(time.Minute))
	begin(t, gone, "1", idempotency.New)
	d.exec("UPDATE rabbitrpc.records SET lease = clock_timestamp() - interval '1s'")
	states := make(chan idempotency.State, 30)
	for range 3 {
		s := open(t, d.url, postgres.WithConnections(5))
		for range 10 {
			go func() {
				begun, err := s.Begin(t.Context(), keyOf("1"), fingerprint)
				if err != nil {
					t.Error(err)
				}
				states <- begun.State
			}()
		}
	}
	count := map[idempotency.State]int{}
	for range cap(states) {
		count[<-states]++
	}
	if count[idempotency.Orphaned] != 1 || count[idempotency.InFlight] != cap(states)-1 {
		t.Errorf("states = %v, want one orphaned and the others in flight", count)
	}
}

func TestCompleteOutlivesAnOutage(t *testing.T) {
	d := newDatabase(t)
	line := newLine(t, d.url)
	s := open(t, line.url)
	begun := begin(t, s, "1", idempotency.New)
	line.refuse(true)
	line.cut()
	completed := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { completed <- s.Complete(ctx, begun.Token, reply("x")) }()
	select {
	case err := <-completed:
		t.Errorf("Complete = %v while the database is out of reach", err)
	case <-time.After(200 * time.Millisecond):
	}
	line.refuse(false)
	if err := <-completed; err != nil {
		t.Errorf("Complete = %v", err)
	}
	begin(t, s, "1", idempotency.Done)
}

// It was stored before the connection was lost: to try again is not to lose the claim.
func TestCompleteIsUnanswered(t *testing.T) {
	d := newDatabase(t)
	line := newLine(t, d.url)
	s := open(t, line.url)
	begun := begin(t, s, "1", idempotency.New)
	line.next(unanswered, "rabbitrpc_complete")
	if err := s.Complete(t.Context(), begun.Token, reply("x")); err != nil {
		t.Errorf("Complete = %v", err)
	}
	begin(t, s, "1", idempotency.Done)
}

// Once Complete has failed nobody renews the claim.
func TestFailedClaimLapses(t *testing.T) {
	d := newDatabase(t)
	s := open(t, d.url, postgres.WithLease(time.Second))
	begun := begin(t, s, "1", idempotency.New)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Complete(ended, begun.Token, reply("x")); err == nil || errors.Is(err, idempotency.ErrLost) {
		t.Fatalf("Complete = %v, want another error than ErrLost", err)
	}
	until(t, "the lease is over", func() bool { return one[float64](d, remaining) < 0 })
	if begun := begin(t, s, "1", idempotency.Orphaned); begun.Claims != 2 {
		t.Errorf("claim %d, want the second", begun.Claims)
	}
}

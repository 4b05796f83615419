package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

// The connection is lost during the commit. Each time the holder finds out what came of it.
func TestCommitIsCutOff(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fault   fault
		want    error
		effects int
	}{
		{"before it arrives", lost, idempotency.ErrUndone, 0},
		{"before it arrives, unnoticed by the server", lostUnnoticed, idempotency.ErrUndone, 0},
		{"before the answer", unanswered, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDatabase(t)
			line := newLine(t, d.url)
			s := openTx(t, line.url)
			begun := begin(t, s, "1", idempotency.New)
			if _, err := pay(begun.Bind(t.Context()), request("1")); err != nil {
				t.Fatal(err)
			}
			line.next(tt.fault, "rabbitrpc_commit")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := s.Complete(ctx, begun.Token, reply("x")); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("Complete = %v, want %v", err, tt.want)
			}
			d.wantEffects("1", tt.effects)
			if tt.want == nil {
				begin(t, s, "1", idempotency.Done)
			} else {
				begin(t, s, "1", idempotency.New)
			}
		})
	}
}

// While nobody can say what came of it, it is neither done nor undone.
func TestOutcomeStaysUnknown(t *testing.T) {
	d := newDatabase(t)
	line := newLine(t, d.url)
	s := openTx(t, line.url)
	begun := begin(t, s, "1", idempotency.New)
	line.next(unansweredForNow, "rabbitrpc_commit")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := s.Complete(ctx, begun.Token, reply("x"))
	if err == nil || errors.Is(err, idempotency.ErrUndone) || errors.Is(err, idempotency.ErrLost) {
		t.Errorf("Complete = %v, want another error", err)
	}
	line.refuse(false)
	begin(t, s, "1", idempotency.Done)
}

package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/idempotency/storetest"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
)

var points = map[string]storetest.Step{
	"postgres-completing": storetest.Answered,
	"postgres-completed":  storetest.Stored,
}

// Processes are killed, and frozen, with a lease of a second.
func opener(opts ...postgres.Option) func(url string) (idempotency.Store, error) {
	return func(url string) (idempotency.Store, error) {
		return postgres.Open(context.Background(), url, append(opts, postgres.WithLease(time.Second))...)
	}
}

func TestClaimSurvivesCrashes(t *testing.T) {
	storetest.RunCrash(t, storetest.Crash{
		Survives:  storetest.Outcomes,
		Open:      opener(),
		Place:     func(t *testing.T) string { return testpostgres.URL(t) },
		TakesOver: time.Second,
		Points:    points,
	})
}

func TestTransactionSurvivesCrashes(t *testing.T) {
	storetest.RunCrash(t, storetest.Crash{
		Survives:  storetest.Effects,
		Open:      opener(postgres.WithTransactions()),
		Place:     func(t *testing.T) string { return newDatabase(t).url },
		TakesOver: time.Second,
		Apply: func(ctx context.Context, id string) error {
			_, err := postgres.Tx(ctx).Exec(ctx, "INSERT INTO effects VALUES ($1)", id)
			return err
		},
		Count: func(t *testing.T, place, id string) int {
			return (&database{t: t, url: place, conn: connect(t, place)}).effects(id)
		},
		Points: points,
	})
}

package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
)

// retryAfter is the pause before PostgreSQL is tried again.
const retryAfter = 50 * time.Millisecond

// claim claims the call in claim mode, and gives the connection back.
func (s *Store) claim(ctx context.Context, conn *pgxpool.Conn, c *call, _ time.Duration) (a answer, _ *transaction, err error) {
	defer conn.Release()
	err = conn.QueryRow(ctx, claimName, c.args(s.lease, nil, nil)...).Scan(a.fields()...)
	return a, nil, err
}

// complete stores the outcome in claim mode. It is tried again for as long as ctx lasts: for want of it a call
// that ran would have no answer, and run again.
func (s *Store) complete(ctx context.Context, token idempotency.Token, record *idempotency.Record) error {
	head, body, err := encode(record)
	if err != nil {
		return err
	}
	key := sum(token.Key)
	failpoint.Hit("postgres-completing")
	err = s.settle(ctx, "complete", completeName, key[:], int64(token.Fence), head, body)
	failpoint.Hit("postgres-completed")
	return err
}

// abandon ends a claim in claim mode.
func (s *Store) abandon(ctx context.Context, token idempotency.Token) error {
	key := sum(token.Key)
	return s.settle(ctx, "abandon", abandonName, key[:], int64(token.Fence))
}

// settle ends a claim. It is not renewed any more: if this fails it lapses.
func (s *Store) settle(ctx context.Context, doing, statement string, args ...any) error {
	for {
		var mine bool
		err := s.pool.QueryRow(ctx, statement, args...).Scan(&mine)
		switch {
		case err == nil && mine:
			return nil
		case err == nil:
			return idempotency.ErrLost
		case !lost(err) && !conflict(err) || !sleep(ctx, retryAfter):
			return advise(doing, err)
		case lost(err):
			s.pool.Reset() // they may all lead to a server that is not the primary any more
		}
	}
}

// sleep is false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// renewAll renews the claims of this process three times in each lease.
func (s *Store) renewAll(ctx context.Context) {
	every := s.lease / 3
	for sleep(ctx, every) {
		keys, fences := s.held()
		if len(keys) == 0 {
			continue
		}
		within, cancel := context.WithTimeout(ctx, every)
		if _, err := s.pool.Exec(within, renewName, keys, fences, s.lease); err != nil && ctx.Err() == nil {
			if lost(err) {
				s.pool.Reset()
			}
			s.log.Warn("claims not renewed: others take them over when their lease is over", "claims", len(keys), "err", advise("renew", err))
		}
		cancel()
	}
}

func (s *Store) held() (keys [][]byte, fences []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token := range s.claims {
		key := sum(token.Key)
		keys = append(keys, key[:])
		fences = append(fences, int64(token.Fence))
	}
	return keys, fences
}

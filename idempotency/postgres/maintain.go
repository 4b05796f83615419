package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// askForPartitions has the partitions made at once that a call has missed.
func (s *Store) askForPartitions() {
	select {
	case s.missing <- struct{}{}:
	default: // asked already
	}
}

// maintainAll makes partitions ahead of time and drops old ones.
func (s *Store) maintainAll(ctx context.Context) {
	every := min(s.retention/32, maxMaintain) // 8 times for each partition
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.missing:
		case <-time.After(every/2 + rand.N(every)): // not all servers at a time
		}
		if err := s.maintain(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("partitions not maintained", "err", advise("maintain", err))
		}
	}
}

func (s *Store) maintain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maintainTimeout)
	defer cancel()
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return s.maintainOn(ctx, conn)
}

// maintainOn maintains the partitions, or leaves them for the next time if somebody is in the way.
func (s *Store) maintainOn(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, s.sql("SELECT {schema}.prepare($1)"), s.retention)
	for more := true; more && err == nil; {
		err = conn.QueryRow(ctx, s.sql("SELECT {schema}.expire()")).Scan(&more)
	}
	if codeOf(err) == lockNotAvailable || conflict(err) {
		return nil
	}
	return err
}

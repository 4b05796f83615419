package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Store is an [idempotency.Store]. The package comment says what it promises.
type Store struct {
	*options
	pool    *pgxpool.Pool
	stop    context.CancelFunc
	wg      sync.WaitGroup
	missing chan struct{} // asks for partitions

	mu     sync.Mutex                         // guards claims
	claims map[idempotency.Token]*transaction // of this process; nil ones in claim mode
}

var _ idempotency.Store = (*Store)(nil)

// Begin implements [idempotency.Store]. Where ctx has a deadline, calls with more than half of the retention
// left are refused: their duplicates might come when they are forgotten.
func (s *Store) Begin(ctx context.Context, key idempotency.Key, fingerprint idempotency.Fingerprint) (idempotency.Begun, error) {
	left, err := s.timeLeft(ctx)
	if err != nil {
		return idempotency.Begun{}, err
	}
	a, t, err := s.begin(ctx, newCall(s.schema, key, fingerprint), left)
	switch code := codeOf(err); {
	case conflict(err) || code == uniqueViolation:
		return idempotency.Begun{State: idempotency.InFlight}, nil // another claimed it at the same time
	case code == noPartition:
		s.askForPartitions()
		fallthrough
	case err != nil:
		return idempotency.Begun{}, advise("begin", err)
	}
	begun, err := a.begun(key)
	if !a.claimed() || err != nil {
		return begun, err
	}
	s.hold(begun.Token, t)
	// A duplicate may have waited here until what is known of the call was forgotten. This is what tells: the
	// lookup was before, and so before the deadline.
	if err := expired(ctx); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.Abandon(ctx, begun.Token) // else the claim lapses
		return idempotency.Begun{}, err
	}
	if t != nil {
		begun.Bind = t.bind
	}
	return begun, nil
}

// begin claims the call, if it is free, on a connection that lives. After PostgreSQL was started again those of
// the pool are all lost.
func (s *Store) begin(ctx context.Context, c *call, left time.Duration) (answer, *transaction, error) {
	claim := s.claim
	if s.transactions {
		claim = s.claimWithin
	}
	for again := false; ; again = true {
		conn, err := s.acquire(ctx)
		if err != nil {
			return answer{}, nil, err
		}
		a, t, err := claim(ctx, conn, c, left)
		if a.state == "contested" {
			err = s.pool.QueryRow(ctx, claimName, c.key[:], c.fingerprint[:], nil, nil, nil, nil).Scan(a.fields()...)
		}
		if err == nil || !lost(err) || again || ctx.Err() != nil {
			return a, t, err
		}
		s.pool.Reset()
	}
}

// Complete implements [idempotency.Store].
func (s *Store) Complete(ctx context.Context, token idempotency.Token, record *idempotency.Record) error {
	t, held := s.release(token)
	switch {
	case !held:
		return idempotency.ErrLost
	case t != nil:
		return s.commit(ctx, t, record)
	}
	return s.complete(ctx, token, record)
}

// Abandon implements [idempotency.Store].
func (s *Store) Abandon(ctx context.Context, token idempotency.Token) error {
	t, held := s.release(token)
	switch {
	case !held:
		return idempotency.ErrLost
	case t != nil:
		t.rollback(ctx)
		return nil
	}
	return s.abandon(ctx, token)
}

func (s *Store) hold(token idempotency.Token, t *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims[token] = t
}

func (s *Store) release(token idempotency.Token) (t *transaction, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, held = s.claims[token]
	delete(s.claims, token)
	return t, held
}

// timeLeft returns the time that the call may take.
func (s *Store) timeLeft(ctx context.Context) (time.Duration, error) {
	if err := expired(ctx); err != nil {
		return 0, err
	}
	most := s.retention / 2
	deadline, ok := ctx.Deadline()
	if !ok {
		return most, nil
	}
	left := time.Until(deadline)
	if left > most {
		// Twice, because a request may wait for its timeout in the queue, and then run for as long.
		return 0, rpc.Errorf(rpc.FailedPrecondition, "the call has %v left, and calls are remembered for twice %v: "+
			"the server has to raise postgres.WithRetention", left.Round(time.Second), most).WithExecuted(rpc.ExecutedNo)
	}
	return left, nil
}

// expired returns an error if ctx has ended, or its deadline is over and nobody has noticed yet.
func expired(ctx context.Context) error {
	err := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && err == nil && !time.Now().Before(deadline) {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return fmt.Errorf("postgres: begin: %w", err)
	}
	return nil
}

// acquire waits for a connection.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := s.pool.Acquire(ctx)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil && int(s.pool.Stat().AcquiredConns()) >= s.connections {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "no connection to the database became free in time").
			WithCause(errors.Join(err, fmt.Errorf("postgres: all %d connections are in use: see WithConnections", s.connections))).
			WithExecuted(rpc.ExecutedNo)
	}
	return nil, err
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
)

// grace is for how long after its deadline a call may still be committed.
const grace = time.Second

// transaction is a call that runs in transaction mode.
type transaction struct {
	conn   *pgxpool.Conn
	tx     pgx.Tx
	handle *handle
	ended  func() error // of the handler's context; nil if no handler had it
	answer
	key []byte
}

// claimWithin claims the call in a transaction of its own. Without a claim it gives the connection back.
func (s *Store) claimWithin(ctx context.Context, conn *pgxpool.Conn, c *call, left time.Duration) (a answer, t *transaction, err error) {
	limit := left + grace
	idle := limit
	if s.lease > 0 {
		idle = min(idle, s.lease)
	}
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{BeginQuery: beginName})
	b.Queue(claimName, c.args(nil, milliseconds(idle), milliseconds(limit))...).
		QueryRow(func(row pgx.Row) error { return row.Scan(a.fields()...) })
	b.Queue(savepointName)
	results := conn.SendBatch(ctx, b)
	err = results.Close()
	t = &transaction{conn: conn, tx: results.Tx(), key: c.key[:]}
	t.handle = newHandle(t.tx)
	if err != nil || !a.claimed() {
		t.rollback(ctx)
		return a, nil, err
	}
	t.answer = a
	return a, t, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

func (t *transaction) bind(ctx context.Context) context.Context {
	t.ended = ctx.Err
	return context.WithValue(ctx, handleKey{}, t.handle)
}

// rollback undoes all, and gives the connection back. It cannot fail: at the latest it is done by PostgreSQL
// when the connection ends.
func (t *transaction) rollback(ctx context.Context) {
	t.handle.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = t.tx.Rollback(ctx)
	t.conn.Release()
}

var errRolledBack = errors.New("rolled back")

// commit stores the outcome and commits, with what the handler has written if it succeeded, and without if not.
func (s *Store) commit(ctx context.Context, t *transaction, record *idempotency.Record) error {
	if why := t.hopeless(record); why != nil {
		t.rollback(ctx)
		return why
	}
	t.handle.end()
	head, body, err := encode(record)
	if err != nil {
		t.rollback(ctx)
		return err
	}
	b := &pgx.Batch{}
	if record.Err != nil {
		b.Queue(undoName)
	}
	b.Queue(completeWithinName, t.leaf, t.tid, t.fence, head, body)
	b.Queue(commitName).Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return errRolledBack
		}
		return nil
	})
	failpoint.Hit("postgres-completing")
	err = t.conn.SendBatch(ctx, b).Close()
	t.conn.Release() // if it is still in the transaction, that closes it
	e, said := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		failpoint.Hit("postgres-completed")
		return nil
	case said && e.Code == endedByHandler:
		return fmt.Errorf("postgres: %s", e.Message)
	case said && !fatal(e), pgconn.SafeToRetry(err), errors.Is(err, errRolledBack):
		return undone(err)
	}
	return s.outcome(ctx, t, err)
}

// hopeless returns an error if the transaction cannot be committed with the record.
func (t *transaction) hopeless(record *idempotency.Record) error {
	pg := t.conn.Conn().PgConn()
	switch {
	case pg.IsClosed() || pg.IsBusy():
		return undone(errors.New("the connection was lost, or is in use, when the handler returned"))
	case pg.TxStatus() == 'I':
		return errors.New("postgres: the handler has ended the transaction")
	case record.Err != nil && (conflict(record.Err) || t.ended != nil && t.ended() != nil):
		return undone(record.Err) // no verdict: another time it may do better
	case record.Err == nil && pg.TxStatus() != 'T':
		return undone(errors.New("the handler has replied, and its transaction has failed"))
	}
	return nil
}

func undone(why error) error { return fmt.Errorf("postgres: %w: %w", idempotency.ErrUndone, why) }

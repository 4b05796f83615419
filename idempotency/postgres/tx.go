package postgres

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type handleKey struct{}

// Tx returns the transaction of the call that a handler runs for: what is written through it is committed
// together with the outcome of the call if the handler succeeds, and else not at all. It is nil outside of a
// handler, and without [WithTransactions].
//
// It is for the handler's goroutine, and until the handler returns. Its Commit and Rollback are refused; Begin
// gives a transaction within, which has them.
//
// A handler should return the errors that it gets from it, wrapped maybe: this is how a conflict with another
// transaction is known, after which the call runs again.
func Tx(ctx context.Context) pgx.Tx {
	h, ok := ctx.Value(handleKey{}).(*handle)
	if !ok {
		return nil
	}
	return h
}

// ErrNotYours is what Commit and Rollback of [Tx] return.
var ErrNotYours = errors.New("postgres: the transaction of a call is committed or rolled back after its handler")

// handle is a transaction as the handler sees it, or one within. It is of no use once the call has ended, since its
// connection may serve another by then.
type handle struct {
	tx     pgx.Tx
	ended  *atomic.Bool
	nested bool
}

func newHandle(tx pgx.Tx) *handle { return &handle{tx: tx, ended: new(atomic.Bool)} }

func (h *handle) end() { h.ended.Store(true) }

// of returns the transaction, or one that is closed. It is closed too if the handler has found a way to end it:
// what comes then would be outside of any.
func (h *handle) of() pgx.Tx {
	if h.ended.Load() || h.tx.Conn().PgConn().TxStatus() == 'I' {
		return closed
	}
	return h.tx
}

// closed answers as pgx does.
var closed = pgx.FailedBatchResults(begun(), pgx.ErrTxClosed).Tx()

func begun() *pgx.Batch {
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{})
	return b
}

func (h *handle) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := h.of().Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &handle{tx: tx, ended: h.ended, nested: true}, nil
}

func (h *handle) Commit(ctx context.Context) error {
	if !h.nested {
		return ErrNotYours
	}
	return h.of().Commit(ctx)
}

func (h *handle) Rollback(ctx context.Context) error {
	if !h.nested {
		return ErrNotYours
	}
	return h.of().Rollback(ctx)
}

func (h *handle) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	return h.of().CopyFrom(ctx, table, columns, rows)
}

func (h *handle) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return h.of().SendBatch(ctx, b)
}

func (h *handle) LargeObjects() pgx.LargeObjects { return h.of().LargeObjects() }

func (h *handle) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	return h.of().Prepare(ctx, name, sql)
}

func (h *handle) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return h.of().Exec(ctx, sql, args...)
}

func (h *handle) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return h.of().Query(ctx, sql, args...)
}

func (h *handle) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return h.of().QueryRow(ctx, sql, args...)
}

func (h *handle) Conn() *pgx.Conn { return h.of().Conn() }

package bank

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const schema = `
CREATE TABLE IF NOT EXISTS accounts (id int PRIMARY KEY, balance bigint NOT NULL CONSTRAINT enough CHECK (balance >= 0));
CREATE TABLE IF NOT EXISTS ledger (seq bigserial PRIMARY KEY, call text NOT NULL, tag text NOT NULL,
	source int NOT NULL, target int NOT NULL, amount bigint NOT NULL);
CREATE TABLE IF NOT EXISTS registers (key int PRIMARY KEY, value text NOT NULL);
CREATE SEQUENCE IF NOT EXISTS executions;`

// lock is of the advisory lock under which the tables are made, by one server after the other.
const lock = 0x62616e6b

// prepare makes the tables of the bank, with so many accounts and so much in each, unless they are there.
func prepare(ctx context.Context, url string, accounts, opening int) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return errors.New("prepare bank: no connection with PostgreSQL") // the error may show the password
	}
	defer c.Close(context.WithoutCancel(ctx))
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", lock); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, schema); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO accounts SELECT i, $2 FROM generate_series(0, $1::int - 1) i ON CONFLICT DO NOTHING",
			accounts, opening)
		return err
	})
	if err != nil {
		return fmt.Errorf("prepare bank: %w", err)
	}
	return nil
}

// A teller does what the methods say, in a transaction.
type teller struct{ tx pgx.Tx }

func (t teller) transfer(ctx context.Context, m Move) (Receipt, error) {
	entry, err := t.execution(ctx)
	if err != nil {
		return Receipt{}, err
	}
	// Both at once, in the order of their numbers, or two moves could wait for each other.
	rows, err := t.tx.Query(ctx, "SELECT id FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE", m.From, m.To)
	if err != nil {
		return Receipt{}, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return Receipt{}, err
	}
	if len(found) < 2 {
		return Receipt{}, rpc.Errorf(rpc.NotFound, "no accounts %d and %d", m.From, m.To)
	}
	var b pgx.Batch
	b.Queue("UPDATE accounts SET balance = balance - $1 WHERE id = $2", m.Amount, m.From)
	b.Queue("UPDATE accounts SET balance = balance + $1 WHERE id = $2", m.Amount, m.To)
	b.Queue("INSERT INTO ledger (call, tag, source, target, amount) VALUES ($1, $2, $3, $4, $5)",
		rpc.RequestOf(ctx).ID, m.Tag, m.From, m.To, m.Amount)
	if err := t.tx.SendBatch(ctx, &b).Close(); err != nil {
		return Receipt{}, short(err)
	}
	return Receipt{m.Tag, entry}, nil
}

// short gives the one error that callers can bring about a code.
func short(err error) error {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) && e.ConstraintName == "enough" {
		return rpc.Errorf(rpc.FailedPrecondition, "not enough money")
	}
	return err
}

func (t teller) accounts(ctx context.Context) (Balances, error) {
	rows, err := t.tx.Query(ctx, "SELECT balance FROM accounts ORDER BY id")
	if err != nil {
		return Balances{}, err
	}
	b, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return Balances{b}, err
}

func (t teller) ledger(ctx context.Context, a After) (Entries, error) {
	rows, err := t.tx.Query(ctx,
		"SELECT seq, call, tag, source, target, amount FROM ledger WHERE seq > $1 ORDER BY seq LIMIT 1000", a.Seq)
	if err != nil {
		return Entries{}, err
	}
	e, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
	return Entries{e}, err
}

func (t teller) put(ctx context.Context, v Value) (Receipt, error) {
	entry, err := t.execution(ctx)
	if err != nil {
		return Receipt{}, err
	}
	_, err = t.tx.Exec(ctx,
		"INSERT INTO registers VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", v.Key, v.Value)
	return Receipt{v.Tag, entry}, err
}

func (t teller) get(ctx context.Context, v Value) (Value, error) {
	err := t.tx.QueryRow(ctx, "SELECT value FROM registers WHERE key = $1", v.Key).Scan(&v.Value)
	if errors.Is(err, pgx.ErrNoRows) {
		v.Value, err = "", nil
	}
	return v, err
}

func (t teller) swap(ctx context.Context, s Swap) (Swapped, error) {
	entry, err := t.execution(ctx)
	if err != nil {
		return Swapped{}, err
	}
	// The register is there and locked, or two that find it empty could both set it.
	if _, err := t.tx.Exec(ctx, "INSERT INTO registers VALUES ($1, '') ON CONFLICT DO NOTHING", s.Key); err != nil {
		return Swapped{}, err
	}
	done, err := t.tx.Exec(ctx, "UPDATE registers SET value = $3 WHERE key = $1 AND value = $2", s.Key, s.Old, s.New)
	return Swapped{s.Tag, entry, done.RowsAffected() == 1}, err
}

// execution names this execution of a method. A sequence goes on even if the transaction is rolled back.
func (t teller) execution(ctx context.Context) (string, error) {
	var n int64
	err := t.tx.QueryRow(ctx, "SELECT nextval('executions')").Scan(&n)
	return strconv.FormatInt(n, 10), err
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rabbitrpc/rabbitrpc/idempotency"
)

const (
	connectTimeout  = 5 * time.Second // unless the URL has another
	maintainTimeout = time.Minute
	maxMaintain     = 10 * time.Minute
)

// The statements that each connection has prepared: those that end a transaction could not be once it has failed.
const (
	beginName          = "rabbitrpc_begin"
	claimName          = "rabbitrpc_claim"
	savepointName      = "rabbitrpc_savepoint"
	undoName           = "rabbitrpc_undo"
	completeName       = "rabbitrpc_complete"
	completeWithinName = "rabbitrpc_complete_within"
	abandonName        = "rabbitrpc_abandon"
	renewName          = "rabbitrpc_renew"
	commitName         = "rabbitrpc_commit"
)

func (o *options) statements() map[string]string {
	return map[string]string{
		beginName:          "BEGIN ISOLATION LEVEL " + string(o.isolation) + " READ WRITE",
		claimName:          o.sql("SELECT * FROM {schema}.claim($1, $2, $3, $4, $5, $6)"),
		savepointName:      "SAVEPOINT rabbitrpc",
		undoName:           "ROLLBACK TO SAVEPOINT rabbitrpc",
		completeName:       o.sql("SELECT {schema}.complete($1, $2, $3, $4)"),
		completeWithinName: o.sql("SELECT {schema}.complete_within($1, $2, $3, $4, $5)"),
		abandonName:        o.sql("SELECT {schema}.abandon($1, $2)"),
		renewName:          o.sql("SELECT {schema}.renew($1, $2, $3)"),
		commitName:         "COMMIT",
	}
}

// Open returns a store in the database at url, as in postgres://user:password@host:5432/database, or in any
// form that [pgxpool.ParseConfig] reads. It makes the tables, or brings them to the version of this program.
// PostgreSQL has to be there: Open does not wait for it. The store must be closed.
func Open(ctx context.Context, url string, opts ...Option) (*Store, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	config, err := o.config(url)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, advise("connect", err)
	}
	defer conn.Close(ctx)
	if err := o.migrate(ctx, conn); err != nil {
		return nil, advise("open", err)
	}
	s := &Store{options: o, missing: make(chan struct{}, 1), claims: make(map[idempotency.Token]*transaction)}
	if err := s.maintainOn(ctx, conn); err != nil {
		return nil, advise("open", err)
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, advise("open", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.wg.Go(func() { s.maintainAll(background) })
	if !s.transactions {
		s.wg.Go(func() { s.renewAll(background) })
	}
	return s, nil
}

// Check returns the error that [Open] would return for its URL or options, without asking the database.
func Check(url string, opts ...Option) error {
	o, err := newOptions(opts)
	if err != nil {
		return err
	}
	_, err = o.config(url)
	return err
}

func (o *options) config(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // which may show the password
		return nil, errors.New("postgres: the URL cannot be read: want postgres://user:password@host:5432/database")
	}
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return nil, errors.New("postgres: the simple protocol has no prepared statements: take it out of the URL")
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "rabbitrpc"
	}
	config.MaxConns = int32(o.connections)
	config.MinConns = min(config.MinConns, config.MaxConns)
	config.PingTimeout = connectTimeout
	config.ConnConfig.AfterConnect = isolate
	config.AfterConnect = o.prepare
	return config, nil
}

// isolate sets the isolation of a new connection, whatever is configured: with a snapshot that is older than its
// lock, a claim would overlook the one before it.
func isolate(ctx context.Context, c *pgconn.PgConn) error {
	const set = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"
	_, err := c.Exec(ctx, set).ReadAll()
	return err
}

// prepare prepares the statements on a new connection. PostgreSQL 17 has a timeout of transactions that cannot be moved once they have begun,
// as claim does with the others.
func (o *options) prepare(ctx context.Context, c *pgx.Conn) error {
	const unbounded = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'"
	if o.transactions {
		if _, err := c.Exec(ctx, unbounded); err != nil {
			return fmt.Errorf("set transaction_timeout: %w", err)
		}
	}
	for name, sql := range o.statements() {
		if _, err := c.Prepare(ctx, name, sql); err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
	}
	return nil
}

// connect opens a connection that is not of the pool, for what must not wait for calls.
func (s *Store) connect(ctx context.Context) (*pgx.Conn, error) {
	return pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
}

// Close rolls back what is left of transactions, and closes all connections. Calls that run in claim mode are
// taken over when their lease is over. Close the server first.
func (s *Store) Close() {
	s.stop()
	s.wg.Wait()
	s.mu.Lock()
	left := s.claims
	s.claims = make(map[idempotency.Token]*transaction)
	s.mu.Unlock()
	for _, t := range left {
		if t != nil {
			t.rollback(context.Background())
		}
	}
	s.pool.Close()
}

package postgres

import (
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
)

// An Option changes a default of [Open].
type Option func(*options)

type options struct {
	schema       string
	retention    time.Duration
	lease        time.Duration // 0 with transactions: none
	connections  int
	transactions bool
	isolation    pgx.TxIsoLevel
	log          *slog.Logger
}

const (
	defaultLease = 10 * time.Second

	minRetention, maxRetention = time.Minute, 365 * 24 * time.Hour
	minLease                   = time.Second

	maxConnections = 262143 // of PostgreSQL
)

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,30}$`)

func newOptions(opts []Option) (*options, error) {
	o := &options{
		schema: "rabbitrpc", retention: 24 * time.Hour, connections: 20, isolation: pgx.ReadCommitted,
		log: slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		opt(o)
	}
	if o.lease == 0 && !o.transactions {
		o.lease = defaultLease
	}
	switch {
	case !schemaName.MatchString(o.schema):
		return nil, fmt.Errorf("postgres: schema must be 1 to 31 of a-z, 0-9 and _, got %q", o.schema)
	case o.retention < minRetention || o.retention > maxRetention:
		return nil, fmt.Errorf("postgres: retention must be %v to %v, got %v", minRetention, maxRetention, o.retention)
	case o.lease != 0 && (o.lease < minLease || o.lease > o.retention/4):
		return nil, fmt.Errorf("postgres: lease must be %v to a quarter of the retention, %v, got %v", minLease, o.retention/4, o.lease)
	case o.connections < 1 || o.connections > maxConnections:
		return nil, fmt.Errorf("postgres: connections must be 1 to %d, got %d", maxConnections, o.connections)
	case o.log == nil:
		return nil, fmt.Errorf("postgres: the logger is nil")
	case o.isolation != pgx.ReadCommitted && !o.transactions:
		return nil, fmt.Errorf("postgres: serializable is for transactions: add WithTransactions")
	}
	return o, nil
}

// WithTransactions has each call run in a transaction, which its handler gets from [Tx], and which is committed
// together with the outcome.
func WithTransactions() Option { return func(o *options) { o.transactions = true } }

// WithSerializable has transactions be serializable, instead of read committed. A call that loses against
// another runs again, up to 10 times.
func WithSerializable() Option { return func(o *options) { o.isolation = pgx.Serializable } }

// WithConnections bounds the connections that the store has open at a time: 1 to 262143, default 20. With
// transactions each call has one for as long as it runs: then it should be no less than the workers of the
// server.
func WithConnections(n int) Option { return func(o *options) { o.connections = n } }

// WithLease sets how long a holder may give no sign of life before its calls are taken over, 1s to a quarter of
// the retention. Default 10s; it is renewed each third of that. With transactions it is for how long a handler
// may go without a statement before its transaction is rolled back; by default, as long as its call had left when
// it began, and a second.
func WithLease(d time.Duration) Option { return func(o *options) { o.lease = d } }

// WithRetention sets for how long a call is remembered, from its claim, 1m to 8760h. Default 24h. Calls with
// more than half of it left are refused. Of several servers with one schema the longest holds, also later on: to
// shorten it, lower the retention in the table meta once all servers have less.
func WithRetention(d time.Duration) Option { return func(o *options) { o.retention = d } }

// WithSchema sets the PostgreSQL schema for the tables: 1 to 31 of a-z, 0-9 and _. Default rabbitrpc. Servers
// share what they know if they have the same.
func WithSchema(name string) Option { return func(o *options) { o.schema = name } }

// WithLogger sets the log for what goes wrong in the background. Default: none.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

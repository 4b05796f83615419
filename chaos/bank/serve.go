package bank

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rabbitrpc/rabbitrpc/conn"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/bolt"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/failpoint"
	"github.com/rabbitrpc/rabbitrpc/rpc"
	"github.com/rabbitrpc/rabbitrpc/server"
)

// The names of the memories that a server of the bank may have.
const (
	StoreNone     = "none"
	StoreLRU      = "lru"
	StoreBolt     = "bolt"
	StorePostgres = "postgres" // with transactions: the effects happen exactly once
)

// Stores are the names of all.
var Stores = []string{StorePostgres, StoreBolt, StoreLRU, StoreNone}

// Config is what a server of the bank is to be.
type Config struct {
	Service  string
	Database string // URL of the one with the accounts, and of the store postgres
	Store    string // one of Stores
	File     string // of the store bolt
	Accounts int    // to begin with
	Opening  int    // in each
	Workers  int
	Quorum   int           // delivery limit of a quorum queue, 0 for a classic one
	Work     time.Duration // that each call takes besides
	Lease    time.Duration // of the store postgres
}

// A Server is a server of the bank.
type Server struct {
	*server.Server
	config Config
	pool   *pgxpool.Pool // nil if the store has the transactions
	close  func()
}

// New makes a server over a connection. PostgreSQL has to be there. The server must be closed after its Run.
func New(ctx context.Context, m *conn.Manager, c Config, opts ...server.Option) (*Server, error) {
	if err := prepare(ctx, c.Database, c.Accounts, c.Opening); err != nil {
		return nil, err
	}
	s := &Server{config: c, close: func() {}}
	store, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.Server, err = server.New(m, c.Service, append([]server.Option{
		server.WithStore(store), server.WithWorkers(c.Workers), server.WithQuorumQueue(c.Quorum),
	}, opts...)...)
	if err != nil {
		s.close()
		return nil, err
	}
	handle(s, Transfer(c.Service), func(ctx context.Context, t teller, m Move) (Receipt, error) {
		if err := m.check(); err != nil {
			return Receipt{}, rpc.Errorf(rpc.InvalidArgument, "%w", err).WithExecuted(rpc.ExecutedNo)
		}
		return t.transfer(ctx, m)
	})
	handle(s, Accounts(c.Service), func(ctx context.Context, t teller, _ Nothing) (Balances, error) { return t.accounts(ctx) })
	handle(s, Ledger(c.Service), func(ctx context.Context, t teller, a After) (Entries, error) { return t.ledger(ctx, a) })
	handle(s, Put(c.Service), func(ctx context.Context, t teller, v Value) (Receipt, error) { return t.put(ctx, v) })
	handle(s, Get(c.Service), func(ctx context.Context, t teller, v Value) (Value, error) { return t.get(ctx, v) })
	handle(s, CAS(c.Service), func(ctx context.Context, t teller, w Swap) (Swapped, error) { return t.swap(ctx, w) })
	return s, nil
}

// open opens the store, and the database for handlers whose store has none.
func (s *Server) open(ctx context.Context) (idempotency.Store, error) {
	c := s.config
	if c.Store == StorePostgres {
		p, err := postgres.Open(ctx, c.Database, postgres.WithTransactions(), postgres.WithLease(c.Lease),
			postgres.WithConnections(c.Workers))
		if err != nil {
			return nil, err
		}
		s.close = p.Close
		return p, nil
	}
	config, err := pgxpool.ParseConfig(c.Database)
	if err != nil {
		return nil, errors.New("bank: the URL of the database cannot be read") // its error may show the password
	}
	config.MaxConns = int32(c.Workers)
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("bank: %w", err)
	}
	s.close = s.pool.Close
	switch c.Store {
	case StoreNone:
		return nil, nil
	case StoreLRU:
		return idempotency.NewLRU()
	case StoreBolt:
		b, err := bolt.Open(c.File)
		if err != nil {
			s.close()
			return nil, err
		}
		s.close = func() { b.Close(); s.pool.Close() }
		return b, nil
	}
	s.close()
	return nil, fmt.Errorf("bank: no store %q, it is one of %q", c.Store, Stores)
}

// Close closes what New has opened.
func (s *Server) Close() { s.close() }

// handle serves a method whose handler runs in a transaction: that of the call, if the store has one, else its own.
func handle[Req, Res any](s *Server, m rpc.Method[Req, Res], f func(context.Context, teller, Req) (Res, error)) {
	server.Handle(s.Server, m, func(ctx context.Context, req Req) (res Res, err error) {
		failpoint.Hit("entered")
		time.Sleep(s.config.Work)
		if tx := postgres.Tx(ctx); tx != nil {
			res, err = f(ctx, teller{tx}, req)
		} else {
			err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				res, err = f(ctx, teller{tx}, req)
				return err
			})
		}
		failpoint.Hit("applied")
		return res, err
	})
}

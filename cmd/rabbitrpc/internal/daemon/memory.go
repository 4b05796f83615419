package daemon

import (
	"context"
	"log/slog"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/bolt"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
)

// A memory is what a service remembers of its calls, also when the service is replaced.
type memory struct {
	store idempotency.Store // nil for none
	shut  func() error
}

func openMemory(ctx context.Context, c *config.Dedupe, log *slog.Logger) (*memory, error) {
	switch c.Store {
	case config.StoreBolt:
		s, err := bolt.Open(c.Path, c.Bolt()...)
		if err != nil {
			return nil, err
		}
		return &memory{s, s.Close}, nil
	case config.StorePostgres:
		s, err := postgres.Open(ctx, string(c.URL), append(c.Postgres(), postgres.WithLogger(log))...)
		if err != nil {
			return nil, err
		}
		return &memory{s, func() error { s.Close(); return nil }}, nil
	case config.StoreLRU:
		s, err := idempotency.NewLRU(c.LRU()...)
		if err != nil {
			return nil, err
		}
		return &memory{s, func() error { return nil }}, nil
	default:
		return &memory{nil, func() error { return nil }}, nil
	}
}

func (m *memory) close(log *slog.Logger) {
	if err := m.shut(); err != nil {
		log.Error("store was not closed in good order", "err", err)
	}
}

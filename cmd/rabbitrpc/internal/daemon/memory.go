package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/config"
	"github.com/rabbitrpc/rabbitrpc/idempotency"
	"github.com/rabbitrpc/rabbitrpc/idempotency/bolt"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
)

// A memory is what a service remembers of its calls. All lives of the service share it, and the last one closes it.
type memory struct {
	service string
	config  config.Dedupe
	store   idempotency.Store // nil for none
	shut    func() error
	users   int // guarded by the memories
}

// openLimit is how long it may take to open a store: a database may fall silent after the login.
const openLimit = 30 * time.Second

// memories are those that are open. One goroutine takes them; any gives them back.
type memories struct {
	log   *slog.Logger
	limit time.Duration // openLimit, but in tests

	mu   sync.Mutex // guards what follows
	open []*memory
}

// take returns the memory that a service is to have: the one of an earlier life, else a new one. A file has one user in this
// process, too: a service that was given another name keeps it.
func (ms *memories) take(ctx context.Context, c *config.Service) (*memory, error) {
	if m := ms.find(c); m != nil {
		return m, nil
	}
	opening, cancel := context.WithTimeout(ctx, ms.limit)
	defer cancel()
	store, shut, err := openStore(opening, &c.Dedupe, ms.log)
	switch {
	case err != nil && opening.Err() != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("it is not open after %v: does the database answer? %w", ms.limit, err)
	case err != nil:
		return nil, err
	}
	m := &memory{service: c.Name, config: c.Dedupe, store: store, shut: shut, users: 1}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.open = append(ms.open, m)
	return m, nil
}

func (ms *memories) find(c *config.Service) *memory {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, m := range ms.open {
		if m.config == c.Dedupe && (m.service == c.Name || c.Dedupe.Path != "") {
			m.users++
			return m
		}
	}
	return nil
}

// giveBack closes a memory that nobody else has.
func (ms *memories) giveBack(m *memory) {
	ms.mu.Lock()
	m.users--
	last := m.users == 0
	if last {
		ms.open = slices.DeleteFunc(ms.open, func(o *memory) bool { return o == m })
	}
	ms.mu.Unlock()
	if !last {
		return
	}
	if err := m.shut(); err != nil {
		ms.log.Error("store was not closed in good order", "err", err)
	}
}

func openStore(ctx context.Context, c *config.Dedupe, log *slog.Logger) (store idempotency.Store, shut func() error, err error) {
	nothing := func() error { return nil }
	switch c.Store {
	case config.StoreBolt:
		s, err := bolt.Open(c.Path, c.Bolt()...)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	case config.StorePostgres:
		s, err := postgres.Open(ctx, string(c.URL), append(c.Postgres(), postgres.WithLogger(log))...)
		if err != nil {
			return nil, nil, err
		}
		return s, func() error { s.Close(); return nil }, nil
	case config.StoreLRU:
		s, err := idempotency.NewLRU(c.LRU()...)
		return s, nothing, err
	default:
		return nil, nothing, nil
	}
}

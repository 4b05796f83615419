package execrpc

import (
	"context"
	"log/slog"
	"sync"

	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// An Upstream answers the calls to a service with a program.
type Upstream struct {
	cfg  Config
	env  []string // without that of the call
	log  *slog.Logger
	pool *pool // may be nil

	life    context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup // calls, and keepers of workers

	mu sync.Mutex // guards that no call begins after the end of life
}

// New checks that the program is there and can be run, and starts the workers, if there are to be any. Close ends them.
func New(c *Config, log *slog.Logger) (*Upstream, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	u := &Upstream{cfg: c.withDefaults(), env: c.environment(), log: log.With("program", c.Command[0])}
	u.life, u.end = context.WithCancel(context.Background())
	if c.Pool > 0 {
		u.pool = newPool(u)
	}
	return u, nil
}

// Handle answers the calls of each method. It is an [rpc.Handler].
func (u *Upstream) Handle(ctx context.Context, r *rpc.Request) (*rpc.Reply, error) {
	if !u.begin() {
		return nil, notStarted(context.Canceled)
	}
	defer u.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	if u.pool != nil {
		return u.pool.handle(ctx, r)
	}
	return u.run(ctx, r)
}

// begin reports whether there may be one more call. A handler that has outlasted the drain of its server may come late.
func (u *Upstream) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.life.Err() != nil {
		return false
	}
	u.running.Add(1)
	return true
}

// Close ends the programs, and returns when none is left: after the grace at most, and waitDelay. From then on each call gets
// an error.
func (u *Upstream) Close() {
	u.mu.Lock()
	u.end()
	u.mu.Unlock()
	u.running.Wait()
}

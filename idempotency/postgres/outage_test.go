package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rabbitrpc/rabbitrpc/chaos"
	"github.com/rabbitrpc/rabbitrpc/idempotency/postgres"
	"github.com/rabbitrpc/rabbitrpc/internal/testpostgres"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

// Callers ask two servers again and again until each call is done, while PostgreSQL fails under them. What was
// answered is there in the end, once.
func TestOutage(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(context.Context, *chaos.Postgres) error
	}{
		{"killed", func(ctx context.Context, p *chaos.Postgres) error {
			if err := p.Kill(); err != nil {
				return err
			}
			return p.Start(ctx)
		}},
		{"paused", func(_ context.Context, p *chaos.Postgres) error {
			if err := p.Pause(); err != nil {
				return err
			}
			time.Sleep(2 * callTimeout) // what runs gives up
			return p.Resume()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testpostgres.Own(t)
			newDatabaseAt(t, p.URL())
			c := &callers{t: t}
			for range 2 {
				c.servers = append(c.servers, behind(openTx(t, p.URL(), postgres.WithConnections(8)), pay))
			}
			c.start(8)
			for range 3 {
				before := c.answered()
				until(t, "calls are answered", func() bool { return c.answered() > before+20 })
				if err := tt.do(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			before := c.answered()
			until(t, "calls are answered", func() bool { return c.answered() > before+20 })
			c.stop()
			d := &database{t: t, url: p.URL(), conn: connect(t, p.URL())}
			for id := range c.done {
				d.wantEffects(id, 1)
			}
			if got := one[int](d, "SELECT count(*) FROM effects"); got != len(c.done) {
				t.Errorf("%d effects of %d calls", got, len(c.done))
			}
			if c.failed == 0 {
				t.Error("no attempt failed: the fault did not bite")
			}
		})
	}
}

const callTimeout = time.Second

// callers make calls, each until it is done.
type callers struct {
	t       testing.TB
	servers []rpc.Handler
	wg      sync.WaitGroup
	ending  chan struct{}

	mu     sync.Mutex // guards what follows
	next   int
	done   map[string]bool
	failed int // attempts
}

func (c *callers) start(n int) {
	c.ending = make(chan struct{})
	c.done = make(map[string]bool)
	for range n {
		c.wg.Go(func() {
			for {
				select {
				case <-c.ending:
					return
				default:
					c.call()
				}
			}
		})
	}
}

func (c *callers) call() {
	c.mu.Lock()
	c.next++
	id := fmt.Sprint(c.next)
	c.mu.Unlock()
	for end, attempt := time.Now().Add(2*patience), 0; time.Now().Before(end); attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		r, err := c.servers[attempt%len(c.servers)](ctx, request(id))
		cancel()
		c.mu.Lock()
		if err == nil {
			c.done[id] = true
			if string(r.Body) != "paid "+id {
				c.t.Errorf("reply %q to call %s", r.Body, id)
			}
			c.mu.Unlock()
			return
		}
		c.failed++
		c.mu.Unlock()
		if code := rpc.CodeOf(err); !code.Retryable() && code != rpc.DeadlineExceeded {
			c.t.Errorf("call %s: %s", id, describe(err))
		}
		time.Sleep(10 * time.Millisecond) // as a caller would
	}
	c.t.Errorf("call %s was not done in %v", id, 2*patience)
}

func (c *callers) answered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.done)
}

func (c *callers) stop() {
	close(c.ending)
	c.wg.Wait()
}

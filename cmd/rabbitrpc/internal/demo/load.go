package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/rabbitrpc/rabbitrpc/client"
	"github.com/rabbitrpc/rabbitrpc/cmd/rabbitrpc/internal/mathrpc"
	"github.com/rabbitrpc/rabbitrpc/rpc"
)

const thinking = 10 * time.Millisecond // of a caller between two calls, on average

// A load is the callers, and what became of their calls.
type load struct {
	client *client.Client

	mu  sync.Mutex // guards now
	now tally
}

// A tally is what became of some calls.
type tally struct {
	calls, ok, replayed int
	slowest             time.Duration
	servers             map[string]int // calls that each has answered
	failure             error          // the first
}

func (t *tally) failed() int { return t.calls - t.ok }

func newLoad(c *client.Client) *load { return &load{client: c} }

// start starts the callers. What it returns stops them and waits for their last calls.
func (l *load) start(ctx context.Context) (stop func()) {
	var wg sync.WaitGroup
	thinks, cancel := context.WithCancel(ctx)
	for range callers {
		wg.Go(func() {
			for pause(thinks, rand.N(2*thinking)) == nil {
				l.call(ctx, mathrpc.Fib, rand.IntN(mathrpc.MaxN+1))
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

// take returns the tally since the last take.
func (l *load) take() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.now
	l.now = tally{}
	return t
}

// answeredBy returns how many calls a server has answered since the last take.
func (l *load) answeredBy(server string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.servers[server]
}

// call makes one call and counts it. An answer that is not the right one is a failure like any other.
func (l *load) call(ctx context.Context, m rpc.Method[int, uint64], n int) *rpc.Reply {
	start := time.Now()
	reply, err := l.client.Do(ctx, &rpc.Request{
		Service: m.Service, Method: m.Name, ContentType: rpc.ContentTypeJSON, Body: strconv.AppendInt(nil, int64(n), 10),
	})
	took := time.Since(start)
	if ctx.Err() != nil {
		return nil // the demo was stopped, and this call with it
	}
	if err == nil {
		err = check(n, reply)
	}
	l.count(reply, took, err)
	return reply
}

func (l *load) count(reply *rpc.Reply, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.now
	t.calls++
	t.slowest = max(t.slowest, took)
	if err != nil {
		if t.failure == nil {
			t.failure = err
		}
		return
	}
	t.ok++
	if reply.Replayed {
		t.replayed++
	}
	if t.servers == nil {
		t.servers = make(map[string]int)
	}
	t.servers[reply.Server]++
}

func check(n int, reply *rpc.Reply) error {
	want, err := mathrpc.Fibonacci(n)
	if err != nil {
		return err
	}
	got, err := rpc.Unmarshal[uint64](reply.ContentType, reply.Body)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("fib %d: got %d, want %d", n, got, want)
	}
	return nil
}
